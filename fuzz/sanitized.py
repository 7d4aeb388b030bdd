"""Runs the tests that reach the C layer under the sanitizers of gcc: ``nox -s sanitize``.

The nox session has built the C layer with the sanitizers. Python itself is built without them, so
their libraries are loaded before it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

# Do not import ipcpipes here: this process does not have the libraries of the sanitizers.
from .output import say

TESTS = Path("tests")
ONCE = ["framing*", "native*", "streams", "cancel", "channel*", "blocking*"]
ONCE += ["anonymous_pipes", "posix*", "inherited_endpoints", "child", "access_posix"]
ONCE += ["child_start*"]
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
        # Python itself leaks, and some tests ask for more memory than there is.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        # Each object gets red zones of its own, instead of a place in a shared arena.
        "PYTHONMALLOC": "malloc",
    }


def files(names: list[str]) -> list[str]:
    return sorted(str(path) for name in names for path in TESTS.glob(f"test_{name}.py"))


def run(names: list[str], *options: str, examples: int | None = None) -> bool:
    env = environment()
    if examples is not None:
        env["IPCPIPES_EXAMPLES"] = str(examples)
    # A worker that a sanitizer ends fails the run. With --capture=sys its report is printed,
    # instead of lost with the worker's capture file.
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
        # Each round has another seed, so that it tries other examples.
        rounds += 1
        if not run(OVER_AND_OVER, f"--hypothesis-seed={time.time_ns()}", examples=EXAMPLES):
            return 1
    say(f"nothing found: the suite once, and {rounds} rounds of {EXAMPLES} examples a property")
    return 0


if __name__ == "__main__":
    sys.exit(main())
