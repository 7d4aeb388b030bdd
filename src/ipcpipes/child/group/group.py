"""The master of a group: starts workers, restarts them, and ends them."""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import trio

from ... import _os
from ...abc import HasFileno
from ...abc.uncopied import Uncopied
from ...connections.nursery import first_of, unseen_nursery
from ...connections.serving import call_async
from ...ending import record_end
from ...endpoint import Endpoint, EndpointLike
from ...errors import WorkerFailed
from ...framing import Buffer, Framing, Native
from ...options import DEFAULT_BACKLOG, LARGEST_BACKLOG, check_count, checked_seconds
from ...security import AccessPolicy, compile_policy, policy_document
from ..pipes import ChildPipes
from ..process import Child, check_child_options, run_child
from .member import KILL_AFTER, Member, Slot, all_delivered
from .restarts import Crashes, is_momentary
from .talk import OnMessage, Talk, check_message

if TYPE_CHECKING:
    from ..pipes import Command

__all__ = ["WorkerGroup"]

logger = logging.getLogger("ipcpipes")


class WorkerGroup(Uncopied):
    """Starts ``count`` worker processes, restarts those that crash, talks to them, and ends them.

    >>> group = ipcpipes.WorkerGroup([sys.executable, "worker.py"], 4, endpoint="svc")
    >>> ipcpipes.run(group.run)

    The workers call :func:`ipcpipes.group_worker`. With an ``endpoint`` they accept its clients;
    each client is served by one worker. On POSIX all workers accept from one socket, which they
    inherit, so a client that connects while no worker is free waits. On Windows each worker makes
    its own instances of the pipe, and a client that finds no free instance gets
    :exc:`EndpointBusy`, or tries again if it has ``wait=``. The master (this process) holds the
    name as long as the group runs, and never talks to clients.

    A worker that ends without being told to finish is started again, after a pause that doubles
    from 0.1 to 30 seconds. The same holds for a worker that the system cannot start at the moment
    (it may be out of descriptors). The other workers keep running. A group is a supervisor, not a
    job queue: a job that a crashed worker had is lost unless you keep it.

    Args:
        command: the program and its arguments, or a function that returns them, as for
            :func:`ipcpipes.open_child`.
        count: how many workers, 1 to 4,096.
        endpoint: the name that clients connect to; ``None`` for a group without clients.
        access: the users that may connect; ``None`` for this user only.
        backlog: how many clients may wait to be accepted, 1 to 4,096: all together (POSIX), or for
            each worker (Windows).
        framing: of the messages between master and workers, ``LengthPrefixed()`` by default; for
            messages above 16 MiB, ``LengthPrefixed(max_size=...)``. It has to carry empty
            messages. There is no ``authkey=``, because no other process can reach this channel.
        max_descriptors: how many descriptors may come with one message, in either direction, 0 to
            253; see :meth:`send_descriptors` and :meth:`ipcpipes.Worker.receive_descriptors`.
        on_message: called with the worker's number and each message that the worker sends; with
            ``max_descriptors``, also with the list of the descriptors that came with the message,
            which the function has to close. Calls for one worker never overlap. An exception ends
            the group. During a roll-over, the new process has the same number as the old one.
        on_end: called with the worker's number and its :class:`ipcpipes.Child` when its process has
            ended, after its last message. An exception ends the group. :meth:`run` waits for both
            functions; they may call :meth:`send`, :meth:`roll_over` and :meth:`stop`.
        restarts: a worker that crashes is restarted up to this many times in ``within`` seconds;
            one more crash ends the group with :exc:`WorkerFailed`. ``None`` for any number.
        within: seconds, more than 0.
        grace: how many seconds, 0 or more, a worker gets to become ready, and to finish after it
            was told to. After that it is terminated.
        options: other options of :func:`ipcpipes.open_child`, such as ``stderr``, except ``pipes``.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range, or unknown.
    """

    def __init__(
        self,
        command: Command,
        count: int,
        *,
        endpoint: EndpointLike | None = None,
        access: AccessPolicy | None = None,
        backlog: int = DEFAULT_BACKLOG,
        framing: Framing | Native | None = None,
        max_descriptors: int = 0,
        on_message: OnMessage | None = None,
        on_end: Callable[[int, Child], Awaitable[object]] | None = None,
        restarts: int | None = 5,
        within: float = 60.0,
        grace: float = 30.0,
        **options: Any,
    ) -> None:
        check_child_options("WorkerGroup", **options)
        check_count("count", count, limit=4096, optional=False)
        check_count("backlog", backlog, limit=LARGEST_BACKLOG, optional=False)
        if restarts != 0:
            check_count("restarts", restarts)
        self._command = command
        self._endpoint = None if endpoint is None else Endpoint.of(endpoint)
        self._access = AccessPolicy.current_user() if access is None else access
        if not isinstance(self._access, AccessPolicy):
            raise TypeError(f"access must be an AccessPolicy or None, not {access!r}")
        self._backlog = backlog
        self._talk = Talk(framing, max_descriptors, on_message)
        self._on_end = on_end
        most = math.inf if restarts is None else restarts
        within = checked_seconds("within", within)
        if not within:
            raise ValueError("within must be more than 0 seconds")
        self._grace = checked_seconds("grace", grace)
        self._options = {**_os.APART, **options}
        self._slots = [Slot(number, Crashes(most, within)) for number in range(count)]
        self._members: set[Member] = set()
        self._name: _os.SharedName | None = None
        self._nursery: trio.Nursery | None = None
        self._has_run = False
        self._was_ready = False
        self._signals = trio.CancelScope(shield=True)
        self._stopping = trio.Event()
        self._failure: Exception | None = None

    @property
    def pids(self) -> dict[int, int]:
        """The process ids of the running workers, by worker number."""
        members = [slot.current for slot in self._slots if slot.current is not None]
        return {each.number: each.child.pid for each in members if each.child.status is None}

    async def run(
        self,
        *,
        handle_signals: bool = True,
        task_status: trio.TaskStatus[WorkerGroup] = trio.TASK_STATUS_IGNORED,
    ) -> signal.Signals | None:
        """Starts the workers and keeps them running until the group is stopped.

        After :meth:`stop`, SIGTERM or Ctrl-C, the group shuts down as :meth:`stop` describes. A
        second signal terminates the workers at once, and so does cancelling ``run``. The workers do
        not get the terminal's Ctrl-C.

        Args:
            handle_signals: whether SIGTERM and Ctrl-C end this group. Pass ``False`` if the group
                is only a part of your program. Outside the main thread, signals are never handled.
            task_status: for ``await nursery.start(group.run)``, which then returns the group as
                soon as all workers are ready.

        Returns:
            The signal that has ended the group; ``None`` after :meth:`stop`. The signal is also the
            exit status of :func:`ipcpipes.run`, once your function has returned.

        Raises:
            WorkerFailed: a worker crashed too often, or was not ready in time too often.
            OSError: the program cannot be started. If all workers were ready before, or if the
                system is out of descriptors, memory or processes, this counts as a crash instead.
            RuntimeError: the group runs already, or has run.
            And what :func:`ipcpipes.listen` raises for the endpoint.
        """
        if self._has_run:
            raise RuntimeError("a WorkerGroup runs once; make a new one")
        self._has_run = True
        caught: list[signal.Signals] = []
        in_main_thread = threading.current_thread() is threading.main_thread()
        await trio.lowlevel.checkpoint()
        with ExitStack() as stack:
            async with unseen_nursery() as outer:
                try:
                    if handle_signals and in_main_thread:
                        receiver = trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)
                        signals = stack.enter_context(receiver)
                        outer.start_soon(self._handle_signals, signals, caught)
                    await self._run(task_status)
                finally:
                    self._signals.cancel()
        if self._failure is not None:
            raise self._failure
        return caught[0] if caught else None

    async def _run(self, task_status: trio.TaskStatus[WorkerGroup]) -> None:
        try:
            async with unseen_nursery() as nursery:
                self._nursery = nursery
                try:
                    if self._endpoint is not None:
                        permissions = compile_policy(self._access, "duplex")
                        self._name = _os.SharedName(self._endpoint, permissions, self._backlog)
                    async with trio.open_nursery() as starting:
                        for slot in self._slots:
                            starting.start_soon(self._fill, slot)
                    if self._failure is None:
                        self._was_ready = True
                        task_status.started(self)
                    await self._stopping.wait()
                    await self._end_in_order()
                finally:
                    # There is no checkpoint between these two steps, so that no task starts another
                    # worker while the others are cancelled.
                    self._stopping.set()
                    nursery.cancel_scope.cancel()
        finally:
            if self._name is not None:
                self._name.close()

    def stop(self) -> None:
        """Tells the group to finish in order, and returns at once; :meth:`run` returns when the
        workers have ended.

        The name is released, so that no new client connects. Each worker is told to finish: it gets
        no more messages, accepts only the clients that have connected already, completes its work,
        and ends. A worker that has not ended after ``grace`` seconds is terminated.
        """
        self._stopping.set()

    async def send(
        self, message: bytes | bytearray | memoryview, *, worker: int | None = None
    ) -> None:
        """Sends a message to all workers, or to one.

        A worker gets all messages that were sent to it before it was told to finish. A message to
        all workers does not reach a worker that is being restarted or that ends meanwhile. A
        message to one worker waits until that worker is running. If this is cancelled before the
        system has begun to take the message, the message is not sent; if it is cancelled later, the
        message is still sent.

        Args:
            message: 1 byte or more.
            worker: the number of the worker, ``None`` for all.

        Raises:
            ValueError: the message is empty; ipcpipes uses empty messages as signals.
            IndexError: there is no worker with this number.
            trio.BrokenResourceError: the worker ``worker`` has ended; it may have got the message.
                (If the worker ends after it has received the message, there is no error: a message
                that a worker has received and not answered is lost with it.)
            trio.ClosedResourceError: the group was stopped.
            RuntimeError: :meth:`run` has not started.
            And what :meth:`ipcpipes.abc.MessageChannel.send` raises.
        """
        self._check_message(message, worker)
        if worker is not None:
            await self._send_to_one(self._slots[worker], message)
            return
        # The message is queued for all workers in one step, so that a running roll-over cannot
        # replace one of them in between.
        deliveries = [slot.current.post(message) for slot in self._slots if slot.current]
        await all_delivered(deliveries)

    async def send_descriptors(
        self,
        message: bytes | bytearray | memoryview,
        descriptors: Sequence[int | HasFileno],
        *,
        worker: int,
    ) -> None:
        """Sends a message to one worker, with open descriptors (Windows: handles), such as a client
        that this process has accepted for the worker.

        The descriptors stay yours, and must stay open until this returns or raises. For that
        reason it can be cancelled only until the system begins to take the message.

        Args:
            message: 1 byte or more.
            descriptors: 1 to 253 numbers or objects with ``fileno()``.
            worker: the number of the worker.

        Raises:
            RuntimeError: the group was made without ``max_descriptors=``.
            And what :meth:`send` and :meth:`ipcpipes.abc.MessageChannel.send_descriptors` raise.
        """
        if not self._talk.max_descriptors:
            raise RuntimeError("this group was made without max_descriptors=")
        self._check_message(message, worker)
        await self._send_to_one(self._slots[worker], message, descriptors)

    def _check_message(self, message: Buffer, worker: int | None) -> None:
        check_message(message)
        if worker is not None and not 0 <= worker < len(self._slots):
            raise IndexError(
                f"there is no worker {worker}; the workers are 0 to {len(self._slots) - 1}"
            )
        self._require_running()

    async def roll_over(self) -> None:
        """Replaces all workers, one after another, while the group continues to serve.

        For each worker, a new process is started. When it is ready, it takes the old one's place,
        and the old one is told to finish. No message and no client is lost: the old process gets
        all messages that were sent to it, and its last messages are received. (Windows: a client
        that connects to the old worker at the moment in which that worker stops accepting loses its
        connection.)

        Raises:
            WorkerFailed, OSError: a new worker was not ready in time, or the program cannot be
                started. The old worker stays, and the workers after it are not replaced.
            trio.ClosedResourceError: the group was stopped.
        """
        for slot in self._slots:
            self._require_running()
            async with slot.filling:
                old = slot.current
                started = await self._start(slot.number)
                nursery = self._require_running()
                slot.current = started
                if old is not None:
                    # In the group's nursery, so that it continues when this is cancelled.
                    nursery.start_soon(self._retire, old)
                    await old.child.wait()

    def _require_running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("this group is not running: await group.run()")
        if self._stopping.is_set():
            raise trio.ClosedResourceError("this group was stopped")
        return self._nursery

    async def _send_to_one(
        self,
        slot: Slot,
        message: Buffer,
        descriptors: Sequence[int | HasFileno] | None = None,
    ) -> None:
        while slot.current is None or slot.current.ended.is_set():
            # The task that fills the slot holds this lock.
            async with slot.filling:
                pass
            self._require_running()
        await slot.current.post(message, descriptors).wait()

    # Starting

    async def _fill(self, slot: Slot, crashed: Member | None = None) -> None:
        """Starts a worker for the slot, in as many attempts as are allowed, or ends the group.

        Args:
            crashed: the worker that the new one replaces.
        """
        crash = None if crashed is None else crashed.failure("ended")
        try:
            async with slot.filling:
                if slot.current is not crashed:
                    return  # a roll-over has replaced the worker already
                slot.current = None
                while slot.current is None and not self._stopping.is_set():
                    if crash is not None:
                        await self._pause_after(slot, crash)
                        crash = None
                        continue
                    try:
                        slot.current = await self._start(slot.number)
                    except WorkerFailed as failure:
                        crash = failure
                    except OSError as error:
                        # A program that does not exist is a mistake in the command, which a restart
                        # cannot correct.
                        if not self._was_ready and not is_momentary(error):
                            raise
                        crash = WorkerFailed(slot.number, None, f"could not be started: {error}")
                        crash.__cause__ = error
        except Exception as failure:
            if not self._stopping.is_set():
                # Only the first failure is raised, not an ExceptionGroup.
                self._failure = self._failure or failure
                assert self._nursery is not None
                self._nursery.cancel_scope.cancel()

    async def _start(self, number: int) -> Member:
        """Starts a process and waits until it is ready. If it does not get ready, ends it.

        Raises:
            OSError: the process cannot be started.
            WorkerFailed: it was not ready in time.
            trio.ClosedResourceError: the group was stopped.
        """
        nursery = self._require_running()
        member: Member = await nursery.start(self._attend, number)
        try:
            with trio.move_on_after(self._grace) as deadline:
                await first_of(member.ready, member.ended, self._stopping)
        except BaseException:  # cancelled, perhaps as a group of exceptions
            member.retired = True
            if not member.ended.is_set():
                nursery.start_soon(member.end_by_force)
            raise
        if member.ready.is_set() or self._stopping.is_set():
            return member
        member.retired = True
        await member.end_by_force()
        await member.ended.wait()
        self._require_running()
        text = "did not get ready" if deadline.cancelled_caught else "ended before it was ready"
        raise member.failure(text)

    async def _pause_after(self, slot: Slot, failure: WorkerFailed) -> None:
        """Counts a crash, and waits before the next start.

        Raises:
            WorkerFailed: the worker has crashed too often.
        """
        pause = slot.crashes.pause_after(failure, trio.current_time())
        logger.warning("%s; starting it again in %g s", failure, pause)
        with trio.move_on_after(pause):
            await self._stopping.wait()

    # The life of a worker

    async def _attend(self, number: int, *, task_status: trio.TaskStatus[Member]) -> None:
        """Runs one process to its end, and then the one that replaces it after a crash."""
        member = None
        try:
            async with run_child(
                lambda: self._ends(number), self._command, grace=KILL_AFTER, **self._options
            ) as child:
                member = Member(number, child)
                self._members.add(member)
                task_status.started(member)
                logger.info("worker %d is process %d", number, child.pid)
                await member.converse(self._talk)
                # The worker has closed the channel, so it will end soon.
                with trio.move_on_after(self._grace):
                    await child.wait()
            if self._on_end is not None:
                await call_async(self._on_end, number, child)
        finally:
            if member is not None:
                self._members.discard(member)
                member.ended.set()
                logger.info("worker %d, process %d: %s", number, member.child.pid, member.end)
        if not member.retired:
            await self._fill(self._slots[number], member)

    def _ends(self, number: int) -> ChildPipes:
        self._require_running()
        where = self._endpoint
        group = {
            "number": number,
            "endpoint": None if where is None else [where.kind, where.name],
            "access": policy_document(self._access),
            "backlog": self._backlog,
        }
        lent = {} if self._name is None else self._name.copies()
        return ChildPipes(self._talk.framing, None, lent, group, self._talk.max_descriptors)

    # Ending

    async def _retire(self, member: Member) -> None:
        """Tells a worker to finish, and waits until its process has ended."""
        member.retired = True
        with trio.move_on_after(self._grace) as deadline:
            with suppress(trio.BrokenResourceError):
                await member.post(b"").wait()
            await member.child.wait()
        if deadline.cancelled_caught:
            logger.warning("worker %d has not finished within %g s", member.number, self._grace)
            await member.end_by_force()
        # Its last messages may be received later.
        await member.ended.wait()

    async def _end_in_order(self) -> None:
        if self._name is not None:
            self._name.close()
        async with unseen_nursery() as nursery:
            for member in self._members:
                nursery.start_soon(self._retire, member)

    async def _handle_signals(
        self, signals: AsyncIterator[int], caught: list[signal.Signals]
    ) -> None:
        # Signals are handled until all workers have ended, also when the group is cancelled: a
        # signal that is not handled would end this process and leave the workers running.
        with self._signals:
            async for number in signals:
                caught.append(signal.Signals(number))
                record_end(caught[-1])
                self.stop()
                if len(caught) > 1 and self._nursery is not None:
                    self._nursery.cancel_scope.cancel()
