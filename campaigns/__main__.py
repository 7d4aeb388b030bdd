"""``python -m campaigns``: all campaigns one after another, or one."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from fuzz.output import say

from .registry import CAMPAIGNS


def main() -> int:
    listed = "\n".join(
        f"  {name}: {(one.__doc__ or '').splitlines()[0]}" for name, one in CAMPAIGNS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m campaigns",
        description=__doc__,
        epilog=f"campaigns:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=[*CAMPAIGNS], help="only this one")
    parser.add_argument(
        "--seconds", type=float, default=600, help="for each campaign (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.name:
        return 0 if _run(options.name, options.seconds) else 1
    # Each runs in a process of its own; a failure does not stop the others.
    command = (sys.executable, "-m", "campaigns")
    codes = [
        subprocess.run((*command, name, "--seconds", str(options.seconds)), check=False).returncode
        for name in CAMPAIGNS
    ]
    return 1 if any(codes) else 0


def _run(name: str, seconds: float) -> bool:
    start = time.monotonic()
    try:
        figures = CAMPAIGNS[name].run(seconds)
    except AssertionError as error:
        say(f"{name}: FAILED after {time.monotonic() - start:.0f} s: {error}")
        return False
    say(f"{name}: passed, {figures} in {time.monotonic() - start:.0f} s")
    return True


if __name__ == "__main__":
    sys.exit(main())
