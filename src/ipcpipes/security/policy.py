"""The access policy of a listener: who may connect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["AccessPolicy", "Account", "Group", "Rights", "User"]

Rights: TypeAlias = Literal["read", "write", "both"]
"""What a client may do: receive what the server sends, send to it, or both."""

_RIGHTS: Final = ("read", "write", "both")


@dataclass(frozen=True)
class Account:
    """A user or a group, and what it may do or may not do; see :class:`User`, :class:`Group`."""

    account: str | int
    rights: Rights = "both"

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if isinstance(self.account, bool) or not isinstance(self.account, (str, int)):
            raise TypeError(f"{kind} takes a name, an id or a SID, not {self.account!r}")
        if isinstance(self.account, int):
            if not 0 <= self.account < 2**32 - 1:  # the highest one means "none" to the system
                raise ValueError(
                    f"the id of a {kind.lower()} is 0 to 2**32 - 2, not {self.account}"
                )
        elif not self.account or "\0" in self.account:
            raise ValueError(f"{self.account!r} is the name of no {kind.lower()}")
        if self.rights not in _RIGHTS:
            raise ValueError(f"rights are 'read', 'write' or 'both', not {self.rights!r}")

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()} {self.account}"


@dataclass(frozen=True)
class User(Account):
    """A user, for an :class:`AccessPolicy`.

    Args:
        account: the name; or the uid (POSIX); or the SID as text, ``"S-1-5-…"`` (Windows).
        rights: ``"read"`` to receive what the server sends, ``"write"`` to send to it, or
            ``"both"``. On POSIX a connection in both directions is granted or denied as one: a
            listener for such connections refuses a policy that says ``"read"`` or ``"write"``.

    Raises:
        TypeError, ValueError: there can be no such account.
    """


@dataclass(frozen=True)
class Group(Account):
    """A group, for an :class:`AccessPolicy`; the arguments are those of :class:`User`, with the gid
    as an id.

    On Linux and macOS a client belongs to a group by its effective or a supplementary group id, as
    they were when it connected; on Windows by its token.
    """


@dataclass(frozen=True, init=False)
class AccessPolicy:
    """Who may connect to a listener.

    The user that listens may always, and so may the system's administrator, unless a policy denies
    it to him by name. Others may who are allowed to, or belong to a group that is; who is denied
    may not, whatever else is said of him.

    >>> AccessPolicy(allow=[User("postgres"), Group("docker")], deny=[User("guest")])

    A plain name stays within this user's private directory on Linux and macOS, so that others reach
    only an endpoint made by ``Endpoint.path`` or ``Endpoint.abstract``.

    Args:
        allow, deny: users and groups.
        remote: whether clients on other machines may connect too, as far as they prove to be one
            of those (Windows; elsewhere there is no such thing, and ``listen`` says so).

    Raises:
        TypeError: an argument is of the wrong type.
    """

    allow: tuple[Account, ...]
    deny: tuple[Account, ...]
    open_to_all: Rights | None
    descriptor: str | None
    remote: bool

    def __init__(
        self, allow: Iterable[Account] = (), deny: Iterable[Account] = (), *, remote: bool = False
    ) -> None:
        self._set(allow, deny, None, None, remote)

    def _set(
        self,
        allow: Iterable[Account],
        deny: Iterable[Account],
        open_to_all: Rights | None,
        descriptor: str | None,
        remote: bool,
    ) -> None:
        if not isinstance(remote, bool):
            raise TypeError(f"remote is True or False, not {remote!r}")
        for name, accounts in (("allow", allow), ("deny", deny)):
            if isinstance(accounts, (str, Account)):
                raise TypeError(f"{name} takes a list of User and Group, not {accounts!r}")
            found = tuple(accounts)
            for account in found:
                if not isinstance(account, (User, Group)):
                    raise TypeError(f"{name} takes User and Group, not {account!r}")
            object.__setattr__(self, name, found)
        object.__setattr__(self, "open_to_all", open_to_all)
        object.__setattr__(self, "descriptor", descriptor)
        object.__setattr__(self, "remote", remote)

    @classmethod
    def current_user(cls) -> AccessPolicy:
        """Only processes of the user that listens. The default.

        Linux and macOS: the socket file has mode 0600, and a peer with another effective uid is
        turned away at accept; root (uid 0), which no mode keeps out, is let in. Windows: an
        access list that names this user alone, instead of the system's default, which lets
        Everyone read ("Named Pipe Security and Access Rights").
        """
        return cls()

    @classmethod
    def everyone(
        cls, *, rights: Rights = "both", deny: Iterable[Account] = (), remote: bool = False
    ) -> AccessPolicy:
        """Every user of this machine.

        On Windows others may connect, and may not create instances of the pipe.

        Args:
            rights: as for :class:`User`.
            deny: but not these.
            remote: as for the class.

        Raises:
            TypeError, ValueError: an argument is of the wrong type, or ``rights`` are none.
        """
        if rights not in _RIGHTS:
            raise ValueError(f"rights are 'read', 'write' or 'both', not {rights!r}")
        policy = cls()
        policy._set((), deny, rights, None, remote)
        return policy

    @classmethod
    def sddl(cls, text: str, *, remote: bool = False) -> AccessPolicy:
        """A security descriptor of your own (Windows), for what the rest cannot say.

        Args:
            text: in the security descriptor definition language, with a discretionary access list
                (``D:…``). This user has to be allowed everything (``FA``), for the listener makes
                one instance of the pipe after the other; who may create instances
                (``FILE_CREATE_PIPE_INSTANCE``, 0x4) can serve clients in your name.
            remote: as for the class.

        Raises:
            TypeError: it is no text. That it is none of these is said by ``listen``.
        """
        if not isinstance(text, str):
            raise TypeError(f"a security descriptor is a str, not {text!r}")
        policy = cls()
        policy._set((), (), None, text, remote)
        return policy
