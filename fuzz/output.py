"""Output to the terminal."""

from __future__ import annotations


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201
