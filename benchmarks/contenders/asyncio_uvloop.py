"""The same as :mod:`benchmarks.contenders.asyncio_streams`, on uvloop."""

# Not everybody who checks these types has installed it, and then there is nothing to check.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import sys

import uvloop

from benchmarks.contenders import asyncio_streams
from benchmarks.end import chosen

assert sys.platform != "win32"

if __name__ == "__main__":
    end, job = chosen(asyncio_streams.ENDS)
    uvloop.run(end(job))
