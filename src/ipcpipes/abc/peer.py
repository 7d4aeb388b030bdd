"""The identity of a peer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeerIdentity:
    r"""The process at the other end of a connection, as far as the system reports it. A value that
    the system does not report is ``None``.

    Attributes:
        pid: the process id. Do not base a security decision on it: the process may have ended, and
            its number may belong to another process now. On Windows a client sees the pid of the
            process that made the first instance of the pipe.
        user: the account name; ``DOMAIN\user`` on Windows.
        uid: the effective user id when the connection was made (POSIX).
        gid: the effective group id then (POSIX).
        groups: the supplementary group ids then (POSIX). Linux and macOS tell those of the
            process; elsewhere they are those of the account.
        sid: the security identifier of the user (Windows). At the server's end: the user that the
            client connected as. It comes from the pipe itself and from no other source, so it is
            ``None`` for a client that hides it (``impersonation="anonymous"``). It can also be
            ``None`` for a client of another library that has not sent anything yet, or while two
            threads use the connection; then read it again later. At the client's end: the user
            that process ``pid`` runs as. To be sure of the server, use ``connect(server=...)``,
            which checks the owner of the pipe.
        executable: the path of the program that the process ran when ``peer`` was first read.
            ``None`` if the process had ended, or this process may not see it: Linux shows the
            program of another user's process only to root. Linux (6.5, SO_PEERPIDFD) guarantees
            that it is still the same process; elsewhere the path is as unreliable as the pid. A
            user can run any program, so do not grant rights by it.
    """

    pid: int | None = None
    user: str | None = None
    uid: int | None = None
    gid: int | None = None
    sid: str | None = None
    groups: tuple[int, ...] | None = None
    executable: str | None = None

    def __str__(self) -> str:
        number = self.sid if self.sid is not None else self.uid
        if self.user is None and number is None:
            return "unknown" if self.pid is None else f"process {self.pid}"
        return f"{self.user or 'unknown user'} ({number}), process {self.pid}"
