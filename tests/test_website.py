"""The site finds what a name in the documents means."""

from __future__ import annotations

from pathlib import Path

import pytest

if not (Path(__file__).resolve().parent.parent / "website").exists():
    pytest.skip("the site's code is not beside the tests", allow_module_level=True)

from website.public_names import external_url, public_path


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
