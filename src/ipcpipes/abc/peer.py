"""Who is at the other end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeerIdentity:
    r"""Who is at the other end, as far as the system says; ``None`` where it does not.

    Attributes:
        pid: the process id. It is worth little against an attacker: the process may have
            ended and its number been given away. On Windows the pid that a client sees is
            that of the process which made the pipe's first instance.
        user: the account name; ``DOMAIN\user`` on Windows.
        uid: the effective user id when the connection was made (POSIX).
        gid: the effective group id then (POSIX).
        groups: the supplementary group ids then (POSIX). Linux and macOS tell those of the
            process; elsewhere they are those of the account.
        sid: the security identifier of the user (Windows): at the server's end the one the client
            connected as, which the pipe itself knows, and nobody else is asked: it is ``None`` for
            a client that wants it so, and can be for one of another library that has sent nothing
            yet, or while two threads use the connection; ask again then. At the client's end it is
            the one that process ``pid`` runs under. Who wants to be sure of the server asks by
            ``connect(server=...)``, which looks at the owner of the pipe.
        executable: the path of the program that the process runs, when it was asked for; ``None``
            once it has ended, and where it is not ours to see: Linux shows that of another user's
            process to root alone. Linux makes sure that it is still the same process (SO_PEERPIDFD,
            6.5); elsewhere it is worth what the pid is. A program is what its owner runs: do not
            let it decide who may do what.
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
