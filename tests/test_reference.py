"""The reference of the site describes every public name once."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"

if not REFERENCE.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

MODULES = (
    "ipcpipes",
    "ipcpipes.abc",
    "ipcpipes.blocking",
    "ipcpipes.blocking.abc",
    "ipcpipes.rpc",
    "ipcpipes.rpc.blocking",
    "ipcpipes.rpc.opentelemetry",
    "ipcpipes.testing",
)


def test_every_public_name_is_in_the_reference_once() -> None:
    described = [
        name
        for page in sorted(REFERENCE.glob("*.md"))
        for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    public: dict[str, object] = {}
    for module in MODULES:
        exported = importlib.import_module(module)
        public |= {f"{module}.{name}": getattr(exported, name) for name in exported.__all__}
    modules = {name for name, value in public.items() if inspect.ismodule(value)}
    # The same object may be exported twice; PeerIdentity is.
    twice = {"ipcpipes.abc.PeerIdentity", "ipcpipes.blocking.abc.PeerIdentity"} & public.keys()
    assert sorted(described) == sorted(public.keys() - modules - twice)
