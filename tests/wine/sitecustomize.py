"""Let trio start its event loop under Wine; used by the test bed only.

trio's Windows loop asks Winsock which socket lies at the bottom of the stack
of socket providers, before it has any use for the answer. Wine knows neither of
the two questions (WSAEOPNOTSUPP), and trio takes that for a broken network and
refuses to start. Wine has no socket providers to stack, so a socket is its own
bottom: that is the answer given here.

The site module imports this file in every interpreter of the bed, the children
the tests start included, most of which never import trio. Hence a finder that
waits for the one trio module, and no import worth mentioning before that.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_MODULE = "trio._core._io_windows"
_WSAEOPNOTSUPP = 10045


def _teach_base_socket(module: "ModuleType") -> None:
    # A trio without these names must fail here, with the name in the message,
    # and not later in each test.
    ask = module._get_underlying_socket
    to_handle = module._handle

    def _get_underlying_socket(sock: "Any", **options: "Any") -> "Any":
        try:
            return ask(sock, **options)
        except OSError as error:
            # Whatever is no socket gets WSAENOTSOCK, which trio relies on.
            if getattr(error, "winerror", None) != _WSAEOPNOTSUPP:
                raise
            return to_handle(sock.fileno() if hasattr(sock, "fileno") else sock)

    setattr(module, ask.__name__, _get_underlying_socket)


class _TeachingLoader:
    """The module's own loader, with the change made right after it has run.

    All else is passed on, so that tracebacks and inspect still find the source.
    """

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        return self._loader.create_module(spec)

    def exec_module(self, module: "ModuleType") -> None:
        self._loader.exec_module(module)
        _teach_base_socket(module)

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)


class _Finder:
    # pytest puts its own finder in front of this one; that one passes on
    # everything but test modules and plugins.
    @classmethod
    def find_spec(
        cls,
        name: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        if name != _MODULE:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _TeachingLoader(spec.loader)  # type: ignore[assignment]
        return spec


sys.meta_path.insert(0, _Finder)
