"""``python -m fuzz``: a campaign over all targets or one, or one target with a given input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .campaign import run
from .output import say
from .targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*TARGETS], help="only this one")
    parser.add_argument("files", nargs="*", type=Path, help="run the target on these inputs")
    parser.add_argument(
        "--seconds", type=int, default=600, help="for all targets together (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.files:
        for path in options.files:
            TARGETS[options.target].run(path.read_bytes())
            say(f"{path}: passed")
        return 0
    targets = [options.target] if options.target else [*TARGETS]
    share = max(1, options.seconds // len(targets))
    # A target that fails does not stop the others.
    passed = [run(target, share) for target in targets]
    return 0 if all(passed) else 1


sys.exit(main())
