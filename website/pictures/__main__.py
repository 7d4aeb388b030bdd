"""Draws the pictures."""

from __future__ import annotations

from pathlib import Path

from . import draw_all

draw_all(Path(__file__).parents[2] / "docs" / "pictures")
