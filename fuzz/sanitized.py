"""The tests that reach the C layer, where gcc's sanitizers watch it: ``nox -s sanitize``.

The session has built the C layer with them. Python itself has not got them, so that their
libraries are loaded before it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

# And nothing that imports ipcpipes: this process has not got the libraries.
from .output import say

TESTS = Path("tests")
ONCE = ["framing*", "native", "streams", "cancel", "channel*", "blocking*"]
ONCE += ["anonymous_pipes", "posix*", "inherited_endpoints", "child", "access_posix"]
ONCE += ["descriptors", "descriptor_channels", "attacks_descriptors", "impersonation_posix"]
ONCE += ["rpc_collisions"]
OVER_AND_OVER = ["framing_in_c", "framing_properties"]
EXAMPLES = 500


def environment() -> dict[str, str]:
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        # Python itself leaks; and there are tests that ask for more memory than there is.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        # Each object between its own red zones, and not many in one arena.
        "PYTHONMALLOC": "malloc",
    }


def files(names: list[str]) -> list[str]:
    return sorted(str(path) for name in names for path in TESTS.glob(f"test_{name}.py"))


def run(names: list[str], *options: str, examples: int | None = None) -> bool:
    env = environment()
    if examples is not None:
        env["IPCPIPES_EXAMPLES"] = str(examples)
    # A worker that a sanitizer ends fails the run. What it says goes out, and not into a
    # capture file that ends with it.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--capture=sys"]
    return subprocess.run([*command, *options, *files(names)], env=env, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.sanitized", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="(default: %(default)s)")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    if not run(ONCE):
        return 1
    rounds = 0
    while time.monotonic() < end:
        # Another seed each time: what one round found, the next need not look for again.
        rounds += 1
        if not run(OVER_AND_OVER, f"--hypothesis-seed={time.time_ns()}", examples=EXAMPLES):
            return 1
    say(f"nothing found: the suite once, and {rounds} rounds of {EXAMPLES} examples a property")
    return 0


if __name__ == "__main__":
    sys.exit(main())
