"""The picture of the checks before the first byte: at the server, at the client, at the server."""

from __future__ import annotations

import ipcpipes

from .svg import BLUE, GREEN, ORANGE, RED, Drawing

__all__ = ["draw_checks"]

# What is checked, and what happens if the check fails: an error, or a step that is logged.
_LISTEN = [
    ("the system can express the policy", "NotSupported"),
    ("the directory is safe", "UnsafeDirectory"),
    ("the name is free", "EndpointInUse"),
    ("the socket or pipe gets its permissions", "EndpointDenied"),
]
_CONNECT = [
    ("the directory of a plain name is safe", "UnsafeDirectory"),
    ("the permissions let this user connect", "EndpointDenied"),
    ("server= allows the user of the server", "UntrustedServer"),
    ("authkey=: the server has the secret", "AuthenticationFailed"),
]
_ACCEPT = [
    ("the policy allows the user of the client", "closed and logged"),
    ("authkey=: the client has the secret", "closed and logged"),
]
_COLUMNS = (
    ("the server: listen", ORANGE, _LISTEN, "clients can connect"),
    ("the client: connect", BLUE, _CONNECT, "the client may send"),
    ("the server: accept", ORANGE, _ACCEPT, "the server may send"),
)
_WIDTH, _GAP, _ROW = 280, 30, 84


def draw_checks() -> Drawing:
    drawing = Drawing(
        3 * (_WIDTH + _GAP), 70 + _ROW * 5, "What is checked before the first byte is sent"
    )
    for column, (title, fill, steps, end) in enumerate(_COLUMNS):
        x = _GAP / 2 + column * (_WIDTH + _GAP) + _WIDTH / 2
        drawing.box((x, 24), (_WIDTH, 32), [title], fill)
        y = 24.0
        for what, failure in steps:
            assert " " in failure or issubclass(getattr(ipcpipes, failure), ipcpipes.IpcError)
            drawing.arrow((x, y + 16), (x, y + _ROW - 26))
            y += _ROW
            drawing.box((x, y - 12), (_WIDTH, 28), [what], "#ffffff")
            drawing.box((x, y + 15), (_WIDTH - 60, 24), [f"if not: {failure}"], RED)
        drawing.arrow((x, y + 27), (x, y + _ROW - 16))
        drawing.box((x, y + _ROW), (_WIDTH, 32), [end], GREEN)
    return drawing
