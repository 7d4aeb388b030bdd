"""The same as :mod:`benchmarks.contenders.asyncio_streams`, on uvloop."""

# Type checking must also work where uvloop is not installed.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import sys

import uvloop

from benchmarks.contenders import asyncio_streams
from benchmarks.end import select_end

assert sys.platform != "win32"

if __name__ == "__main__":
    end, job = select_end(asyncio_streams.ENDS)
    uvloop.run(end(job))
