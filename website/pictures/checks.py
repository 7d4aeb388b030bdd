"""The picture of the checks between ``connect`` and the first byte."""

from __future__ import annotations

import ipcpipes

from .svg import BLUE, GREEN, ORANGE, RED, Drawing

__all__ = ["draw_checks"]

# What is done, and the error that ends it.
_LISTEN = [
    ("the name becomes an address", "InvalidEndpoint"),
    ("the directory is safe", "UnsafeDirectory"),
    ("the name is free", "EndpointInUse"),
    ("the system can express the policy", "NotSupported"),
    ("the socket or pipe is made with its rights", "EndpointDenied"),
]
_CONNECT = [
    ("the name becomes an address", "InvalidEndpoint"),
    ("the directory is safe", "UnsafeDirectory"),
    ("the system lets this user connect", "EndpointDenied"),
    ("server= allows the user of the server", "UntrustedServer"),
    ("authkey=: each end proves it has the secret", "AuthenticationFailed"),
    ("the first byte is sent", ""),
]
_ROW, _WIDTH = 62, 300


def draw_checks() -> Drawing:
    drawing = Drawing(
        1040, 60 + _ROW * len(_CONNECT), "What is checked before the first byte is sent"
    )
    for left, title, fill, steps in (
        (10, "the server: listen", ORANGE, _LISTEN),
        (530, "the client: connect", BLUE, _CONNECT),
    ):
        x = left + _WIDTH / 2
        drawing.box((x, 24), (_WIDTH, 30), [title], fill)
        for number, (what, error) in enumerate(steps):
            y = 24 + _ROW * (number + 1)
            drawing.arrow((x, y - _ROW + 15), (x, y - 16))
            drawing.box((x, y), (_WIDTH, 32), [what], "#ffffff" if error else GREEN)
            if error:
                assert issubclass(getattr(ipcpipes, error), ipcpipes.IpcError)
                drawing.arrow((x + _WIDTH / 2, y), (left + _WIDTH + 36, y))
                drawing.box((left + _WIDTH + 118, y), (164, 26), [error], RED)
    return drawing
