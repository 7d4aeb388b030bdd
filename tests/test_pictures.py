"""The pictures of the documents are what the code draws."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"

if not PICTURES.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)


def test_pictures_are_those_that_the_code_draws() -> None:
    from website.pictures import PICTURES as DRAWN

    for name, draw in DRAWN.items():
        written = (PICTURES / f"{name}.svg").read_text("utf-8")
        assert written == str(draw()), f"{name}: python -m website.pictures"
    assert {path.stem for path in PICTURES.glob("*.svg")} == set(DRAWN)
