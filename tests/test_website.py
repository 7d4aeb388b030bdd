"""The site finds what a name in the documents means."""

from __future__ import annotations

from pathlib import Path

import pytest

if not (Path(__file__).resolve().parent.parent / "website").exists():
    pytest.skip("the site's code is not beside the tests", allow_module_level=True)

import ipcpipes
from ipcpipes import rpc
from website.docstring_text import as_markdown
from website.public_names import described_attributes, external_url, public_path


@pytest.mark.parametrize(
    ("name", "scope", "path"),
    [
        ("connect", "ipcpipes", "ipcpipes.connect"),
        ("connect", "ipcpipes.rpc.Client", "ipcpipes.rpc.connect"),
        ("ipcpipes.connect", "ipcpipes.rpc", "ipcpipes.connect"),
        ("rpc.serve", "ipcpipes", "ipcpipes.rpc.serve"),
        ("rpc.blocking.serve", "ipcpipes", "ipcpipes.rpc.blocking.serve"),
        ("blocking.listen", "ipcpipes", "ipcpipes.blocking.listen"),
        ("Endpoint.named", "ipcpipes", "ipcpipes.Endpoint.named"),
        ("send_all", "ipcpipes.Stream", "ipcpipes.Stream.send_all"),
        ("BadStubData", "ipcpipes", "ipcpipes.rpc.BadStubData"),
        ("ipcpipes.testing", "ipcpipes", "ipcpipes.testing"),
        # The class describes this attribute.
        ("finishing", "ipcpipes.Worker", "ipcpipes.Worker"),
        # An error of a dataclass is not an attribute of it.
        ("TypeError", "ipcpipes.rpc.Range", None),
        ("Endpoint._resolve", "ipcpipes", None),
        ("timeout", "ipcpipes", None),
        ("trio.run", "ipcpipes", None),
    ],
)
def test_names_lead_to_the_reference(name: str, scope: str, path: str | None) -> None:
    assert public_path(name, scope) == path


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("OSError", "exceptions.html#OSError"),
        ("int", "functions.html#int"),
        ("subprocess.Popen", "subprocess.html#subprocess.Popen"),
        ("collections.abc.Buffer", "collections.abc.html#collections.abc.Buffer"),
        ("trio.abc.Stream", "reference-io.html#trio.abc.Stream"),
        ("trio.BrokenResourceError", "reference-core.html#trio.BrokenResourceError"),
        ("trio.lowlevel.checkpoint", "reference-lowlevel.html#trio.lowlevel.checkpoint"),
    ],
)
def test_names_of_python_and_trio_lead_to_their_documents(name: str, page: str) -> None:
    url = external_url(name)
    assert url is not None
    assert url.endswith(f"/{page}")


def test_an_unknown_name_leads_nowhere() -> None:
    assert external_url("no_such_module.name") is None


def test_attributes_are_those_of_the_sections_about_them() -> None:
    assert described_attributes(rpc.Range) == {"low", "high"}
    assert "holder_pid" in described_attributes(ipcpipes.EndpointInUse)
    assert "errno" in described_attributes(ipcpipes.EndpointInUse)  # of its base class


DOCSTRING = """\
Sends :class:`bytes`; see :func:`~ipcpipes.rpc.connect` and docs/rpc.md.

>>> class Shop(Base):
...     price = 5
>>> Shop()

Args:
    first, second: how many
        of them.

Raises:
    TypeError, EndpointBusy: it is wrong.
    And everything that the system says.
"""

MARKDOWN = """\
Sends [`bytes`](https://docs.python.org/3/library/functions.html#bytes); see \
[`connect`][ipcpipes.rpc.connect] and [Remote calls](../rpc.md).

```python
class Shop(Base):
    price = 5


Shop()
```

Args:
    first: how many
        of them.
    second: see ``first``.

Raises:
    TypeError: it is wrong.
    ipcpipes.EndpointBusy: see ``TypeError``.

*Further errors:* Everything that the system says."""


def test_docstrings_become_markdown() -> None:
    assert as_markdown(DOCSTRING, "ipcpipes.serve") == MARKDOWN
