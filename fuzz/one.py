"""One target in this process, under atheris: ``python -m fuzz.one TARGET LIBFUZZER-OPTIONS...``.

The campaign starts it, because libFuzzer ends the process it runs in.
"""

from __future__ import annotations

import sys

import atheris

if __name__ == "__main__":
    # The targets are instrumented too, because msgspec, which decodes the values of calls, has no
    # branches that atheris can see.
    with atheris.instrument_imports(include=["ipcpipes", "fuzz"]):
        from fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]].run)
    atheris.Fuzz()
