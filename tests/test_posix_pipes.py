"""Anonymous pipes on POSIX: their capacity on Linux, and SIGPIPE."""

from __future__ import annotations

import errno
import os
import signal
import sys

import pytest
import trio

import ipcpipes

from .test_handing_over import OPENERS, Opener, close, openers, send_all
from .threads import plain_child

if sys.platform == "win32":
    pytest.skip("about pipe(7)", allow_module_level=True)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="pipe(7) of Linux")


@linux_only
@openers
def test_linux_rounds_capacity_up(opener: Opener) -> None:
    page = os.sysconf("SC_PAGESIZE")
    receiver, sender = opener()
    assert receiver.capacity == sender.capacity == 16 * page
    close(receiver, sender)
    for asked, held in {1: page, page + 1: 2 * page, 300_000: 2**19, 2**20: 2**20}.items():
        receiver, sender = opener(capacity=asked)
        for end in (receiver, sender):
            assert end.capacity == end.send_buffer_size == end.receive_buffer_size == held
        close(receiver, sender)
        receiver, sender = opener()
        sender.set_capacity(asked)
        assert receiver.capacity == held
        close(receiver, sender)
        for end in (receiver, sender):
            with pytest.raises(trio.ClosedResourceError):
                end.set_capacity(page)
            with pytest.raises(trio.ClosedResourceError):
                _ = end.capacity


@linux_only
@openers
def test_pipe_cannot_shrink_below_its_contents(opener: Opener) -> None:
    receiver, sender = opener()
    send_all(sender, bytes(40_000))
    with pytest.raises(
        OSError, match="a pipe cannot be made to hold 4,096 bytes: it contains"
    ) as info:
        receiver.set_capacity(4096)
    assert info.value.errno == errno.EBUSY
    for wrong, kind in ((0, ValueError), (None, TypeError), (True, TypeError)):
        with pytest.raises(kind, match="capacity"):
            sender.set_capacity(wrong)
    assert receiver.capacity == 65536
    close(receiver, sender)


@linux_only
def test_capacity_above_the_limit_needs_root() -> None:
    program = """
        import os
        if os.geteuid() == 0:
            os.setuid(65534)
        limit = int(open("/proc/sys/fs/pipe-max-size").read())
        before = len(os.listdir("/proc/self/fd"))
        for opener in (ipcpipes.open_anonymous_pipe, blocking.open_anonymous_pipe):
            try:
                opener(capacity=limit + 1)
            except PermissionError as error:
                say(error)
        receiver, sender = blocking.open_anonymous_pipe(capacity=limit)
        assert receiver.capacity == limit
        receiver.close()
        sender.close()
        assert len(os.listdir("/proc/self/fd")) == before, "nothing is left open"
        say("done")
        """
    with plain_child(program) as child:
        for _ in OPENERS:
            line = child.hear()
            assert "cannot be made to hold 1,048,577 bytes" in line
            assert "/proc/sys/fs/pipe-max-size" in line
        assert child.hear() == "done"


@pytest.mark.skipif(sys.platform == "linux", reason="Linux has it")
@openers
def test_capacity_is_not_supported_on_other_systems(opener: Opener) -> None:
    with pytest.raises(ipcpipes.NotSupported, match="Linux does"):
        opener(capacity=4096)
    receiver, sender = opener()
    for end in (receiver, sender):
        with pytest.raises(ipcpipes.NotSupported, match="Linux does"):
            _ = end.capacity
        with pytest.raises(ipcpipes.NotSupported, match="Linux does"):
            end.set_capacity(4096)
    close(receiver, sender)


@pytest.mark.parametrize("opener", OPENERS)
def test_broken_pipe_does_not_kill_the_process(opener: str) -> None:
    program = """
        import os, signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        async def send_all(end, data):
            await end.send_all(data)
        for size in (1, 1_000_000):
            opener = {"trio": ipcpipes, "blocking": blocking}[sys.argv[1]].open_anonymous_pipe
            receiver, sender = opener()
            receiver._close() if sys.argv[1] == "trio" else receiver.close()
            try:
                trio.run(send_all, sender, bytes(size)) if sys.argv[1] == "trio" else (
                    sender.send_all(bytes(size))
                )
            except trio.BrokenResourceError:
                say("survived")
            sender._close() if sys.argv[1] == "trio" else sender.close()
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
        assert not signal.sigpending()
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # SIGPIPE still has its effect for other pipes.
        receiver, sender = os.pipe()
        os.close(receiver)
        os.write(sender, b"x")
        say("not reached")
        """
    with plain_child(program, opener) as child:
        assert child.hear() == "survived"
        assert child.hear() == "survived"
        assert child.wait() == -signal.SIGPIPE


def test_blocked_sigpipe_is_not_left_pending() -> None:
    program = """
        import os, signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        def break_one():
            receiver, sender = blocking.open_anonymous_pipe()
            receiver.close()
            try:
                sender.send_all(b"x")
            except trio.BrokenResourceError:
                sender.close()
        break_one()
        assert not signal.sigpending()
        # A SIGPIPE of the program itself stays pending.
        os.kill(os.getpid(), signal.SIGPIPE)
        break_one()
        assert signal.sigpending() == {signal.SIGPIPE}
        while signal.sigpending():
            signal.sigwait([signal.SIGPIPE])
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        say("survived")
        """
    with plain_child(program) as child:
        assert child.hear() == "survived"
        assert child.wait() == 0
