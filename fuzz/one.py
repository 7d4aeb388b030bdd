"""One target in this process, under atheris: ``python -m fuzz.one TARGET LIBFUZZER-OPTIONS...``.

It is started by the campaign, since libFuzzer ends the process it runs in.
"""

from __future__ import annotations

import sys

import atheris

if __name__ == "__main__":
    # And what calls are made up by: msgspec, which takes their values apart, shows no branches.
    with atheris.instrument_imports(include=["ipcpipes", "fuzz"]):
        from fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]].run)
    atheris.Fuzz()
