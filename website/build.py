"""Draws the pictures, builds the site, and fails for anything that is wrong in it.

``python -m website.build`` builds it in ``build/site``; with ``--serve`` it is shown at
http://localhost:8000 instead.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from .pictures import draw_all

ROOT = Path(__file__).parent.parent

# Zensical prints what mkdocstrings and griffe find wrong in docstrings, and its strict mode does
# not count it.
_COMPLAINT = re.compile(r"^(griffe|mkdocstrings|mkdocs_autorefs|ipcpipes)\b.*$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the documentation site.")
    parser.add_argument("--serve", action="store_true", help="show the site on this machine")
    given = parser.parse_args()
    draw_all(ROOT / "docs" / "pictures")
    # "-m" finds the extensions of this folder in the working directory.
    zensical = [sys.executable, "-m", "zensical"]
    if given.serve:
        return subprocess.run([*zensical, "serve"], cwd=ROOT, check=False).returncode
    built = subprocess.run(
        [*zensical, "build", "--strict", "--clean"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = _COLOUR.sub("", built.stdout)
    if "issues found" in said:
        # The traceback that Zensical prints after the list of issues says nothing about the pages.
        said = said.partition("Traceback (most recent call last)")[0]
    sys.stdout.write(said)
    complaints = _COMPLAINT.findall(said)
    if built.returncode or complaints:
        sys.stderr.write("The site has faults; they are listed above.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
