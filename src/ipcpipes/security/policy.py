"""Access policies: which users and groups may connect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ..options import check_choice

__all__ = ["AccessPolicy", "Account", "Group", "Rights", "User"]

Rights: TypeAlias = Literal["read", "write", "both"]
"""What a client may do: receive from the server (``"read"``), send to it (``"write"``), or both."""


@dataclass(frozen=True)
class Account:
    """A user or a group, and its rights: the base of :class:`User` and :class:`Group`.

    Attributes:
        account: the name, the id or the SID, as it was given.
        rights: ``"read"``, ``"write"`` or ``"both"``.
    """

    account: str | int
    rights: Rights = "both"

    def __post_init__(self) -> None:
        if isinstance(self.account, bool) or not isinstance(self.account, (str, int)):
            raise TypeError(
                f"{type(self).__name__} takes a name, an id or a SID, not {self.account!r}"
            )
        if isinstance(self.account, int):
            if not 0 <= self.account < 2**32 - 1:  # the system takes the highest one as "none"
                raise ValueError(
                    f"the id of a {self.kind} must be 0 to 2**32 - 2, not {self.account}"
                )
        elif not self.account or "\0" in self.account:
            raise ValueError(f"{self.account!r} cannot be the name of a {self.kind}")
        check_choice("rights", self.rights, get_args(Rights))

    @property
    def kind(self) -> str:
        """``"user"`` or ``"group"``."""
        return type(self).__name__.lower()

    def __str__(self) -> str:
        return f"{self.kind} {self.account}"


@dataclass(frozen=True)
class User(Account):
    """A user, for an :class:`AccessPolicy`.

    Args:
        account: the name; or the uid (POSIX); or the SID as text, ``"S-1-5-…"`` (Windows).
        rights: ``"read"`` to receive from the server, ``"write"`` to send to it, or ``"both"``. On
            POSIX both directions of a duplex connection can only be allowed or denied together: a
            listener for such connections refuses a policy that says ``"read"`` or ``"write"``.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, or cannot be an account.
    """


@dataclass(frozen=True)
class Group(Account):
    """A group, for an :class:`AccessPolicy`.

    On Linux and macOS a client belongs to a group by its effective or a supplementary group id, as
    they were when it connected; on Windows by its token.

    Args:
        account: the name; or the gid (POSIX); or the SID as text, ``"S-1-5-…"`` (Windows).
        rights: ``"read"`` to receive from the server, ``"write"`` to send to it, or ``"both"``, as
            for :class:`User`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, or cannot be an account.
    """


@dataclass(frozen=True, init=False)
class AccessPolicy:
    """Which users may connect to a listener; or, as ``connect(server=...)``, may be the server.

    The user that listens is always allowed, and so is root on Linux and macOS, unless the policy
    denies it by name. Other users are allowed if ``allow`` names them or a group of theirs.
    ``deny`` is stronger than ``allow``.

    >>> AccessPolicy(allow=[User("postgres"), Group("docker")], deny=[User("guest")])

    On Linux and macOS a plain name is in a private directory of this user. Other users can only
    reach an endpoint that is made by ``Endpoint.path``, ``Endpoint.dotnet`` or
    ``Endpoint.abstract``.

    Args:
        allow, deny: users and groups.
        remote: whether clients on other machines may connect too, if they authenticate as an
            allowed user. Only Windows has this; elsewhere ``listen`` raises ``NotSupported``.

    Raises:
        TypeError: an argument is of the wrong type.

    Attributes:
        open_to_all: the rights of every user, as given to :meth:`everyone`; ``None`` otherwise.
        descriptor: the security descriptor as text, as given to :meth:`sddl`; ``None`` otherwise.
    """

    allow: tuple[Account, ...] = ()
    deny: tuple[Account, ...] = ()
    open_to_all: Rights | None = None
    descriptor: str | None = None
    remote: bool = False

    def __init__(
        self, allow: Iterable[Account] = (), deny: Iterable[Account] = (), *, remote: bool = False
    ) -> None:
        if not isinstance(remote, bool):
            raise TypeError(f"remote must be True or False, not {remote!r}")
        for name, accounts in (("allow", allow), ("deny", deny)):
            if isinstance(accounts, (str, Account)):
                raise TypeError(f"{name} must be a list of User and Group, not {accounts!r}")
            found = tuple(accounts)
            for account in found:
                if not isinstance(account, (User, Group)):
                    raise TypeError(f"{name} must contain only User and Group, not {account!r}")
            object.__setattr__(self, name, found)
        object.__setattr__(self, "remote", remote)

    @classmethod
    def current_user(cls) -> AccessPolicy:
        """Allows only processes of the user that listens. This is the default.

        Linux and macOS: the socket file has mode 0600, and ``accept`` refuses a peer with another
        effective uid; it allows root (uid 0), which a mode cannot keep out. Windows: an access list
        with only this user, instead of the default of the system, which lets Everyone read ("Named
        Pipe Security and Access Rights").
        """
        return cls()

    @classmethod
    def everyone(
        cls, *, rights: Rights = "both", deny: Iterable[Account] = (), remote: bool = False
    ) -> AccessPolicy:
        """Allows every user of this machine.

        On Windows other users may connect, but may not create instances of the pipe.

        Args:
            rights: ``"read"`` to receive from the server, ``"write"`` to send to it, or ``"both"``.
            deny: users and groups that are not allowed.
            remote: whether clients on other machines may connect too (Windows).

        Raises:
            TypeError, ValueError: an argument is of the wrong type, or ``rights`` is not one of
                the three.
        """
        check_choice("rights", rights, get_args(Rights))
        policy = cls(deny=deny, remote=remote)
        object.__setattr__(policy, "open_to_all", rights)
        return policy

    @classmethod
    def sddl(cls, text: str, *, remote: bool = False) -> AccessPolicy:
        """Takes a security descriptor of your own (Windows), for rules that users and groups cannot
        express.

        Args:
            text: in the security descriptor definition language, with a discretionary access list
                (``D:…``). Allow this user everything (``FA``), because the listener makes more
                instances of the pipe. A user that may create instances
                (``FILE_CREATE_PIPE_INSTANCE``, 0x4) can serve clients in your name.
            remote: whether clients on other machines may connect too.

        Raises:
            TypeError: an argument is of the wrong type. ``listen`` raises ValueError if the text is
                not such a descriptor.
        """
        if not isinstance(text, str):
            raise TypeError(f"a security descriptor must be a str, not {text!r}")
        policy = cls(remote=remote)
        object.__setattr__(policy, "descriptor", text)
        return policy
