"""trio's own stream over a Unix domain socket."""

from __future__ import annotations

import trio

from benchmarks.contenders import streams
from benchmarks.contenders.trio_unix import connect, listening
from benchmarks.end import ends, select_end

if __name__ == "__main__":
    end, job = select_end(ends(listening, connect, streams.PARTS))
    trio.run(end, job)
