"""Endpoints: their checks, and their addresses on each system."""

from __future__ import annotations

import typing
from pathlib import PurePosixPath
from typing import Any

import pytest

import ipcpipes
import ipcpipes.blocking
import ipcpipes.rpc
from ipcpipes import Endpoint, InvalidEndpoint, NotSupported
from ipcpipes.endpoint import EndpointLike, posix_address, windows_address

SID = "S-1-5-21-1004336348-1177238915-682003330-1001"


def posix(endpoint: EndpointLike, limit: int = 108) -> bytes:
    return posix_address(
        Endpoint.of(endpoint),
        runtime_directory="/run/user/1000/ipcpipes",
        temporary_directory="/tmp",
        limit=limit,
    )


def windows(endpoint: EndpointLike) -> str:
    return windows_address(Endpoint.of(endpoint), sid=SID)


# Programs of other versions and languages rely on these mappings: they never change.
@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("svc", b"/run/user/1000/ipcpipes/svc.sock"),
        (Endpoint.named("A.b_c-9"), b"/run/user/1000/ipcpipes/A.b_c-9.sock"),
        ("/run/svc.sock", b"/run/svc.sock"),
        (PurePosixPath("/run/svc.sock"), b"/run/svc.sock"),
        (Endpoint.path("/srv/\u00e9"), "/srv/\u00e9".encode()),
        (Endpoint.dotnet("svc"), b"/tmp/CoreFxPipe_svc"),
        (Endpoint.dotnet("my app"), b"/tmp/CoreFxPipe_my app"),
        (Endpoint.abstract("svc"), b"\0svc"),
    ],
)
def test_posix_mapping(endpoint: EndpointLike, address: bytes) -> None:
    assert posix(endpoint) == address


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("svc", rf"\\.\pipe\ipcpipes.{SID}.svc"),
        (r"\\.\pipe\svc", r"\\.\pipe\svc"),
        (r"\\?\PIPE\svc", r"\\?\PIPE\svc"),
        (Endpoint.path(r"\\.\pipe\a/b c"), r"\\.\pipe\a/b c"),
        (Endpoint.dotnet("svc"), r"\\.\pipe\svc"),
    ],
)
def test_windows_mapping(endpoint: EndpointLike, address: str) -> None:
    assert windows(endpoint) == address


def test_dotnet_temporary_directory_may_end_with_slash() -> None:
    for directory in ("/var/t", "/var/t/"):
        address = posix_address(
            Endpoint.dotnet("x"),
            runtime_directory="/nowhere",
            temporary_directory=directory,
            limit=108,
        )
        assert address == b"/var/t/CoreFxPipe_x"


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "a/b", "a\\b", "a b", "a\0b", "\u00e9", "a\n", "a:"]
)
def test_plain_names_allow_the_same_characters_everywhere(name: str) -> None:
    with pytest.raises(InvalidEndpoint, match="not a plain name"):
        Endpoint.named(name)
    with pytest.raises(ValueError, match="A-Z a-z 0-9"):
        Endpoint("named", name)


@pytest.mark.parametrize("path", ["", "svc.sock", "./svc", "../svc", "~/svc"])
def test_relative_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidEndpoint, match="relative path"):
        Endpoint.path(path)


def test_paths_with_nul_or_final_slash_are_refused() -> None:
    with pytest.raises(InvalidEndpoint, match="NUL"):
        Endpoint.path("/a\0b")
    with pytest.raises(InvalidEndpoint, match="names a directory"):
        Endpoint.path("/run/")


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "a\0", "Anonymous"])
def test_invalid_dotnet_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidEndpoint):
        Endpoint.dotnet(name)


@pytest.mark.parametrize("name", ["", "a\0b", "\0", "\0a", "a\0b\0"])
def test_invalid_abstract_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidEndpoint, match="abstract"):
        Endpoint.abstract(name)


@pytest.mark.parametrize("value", [None, 5, b"svc", ["svc"], object()])
def test_other_types_are_type_errors(value: object) -> None:
    with pytest.raises(TypeError, match="str"):
        Endpoint.of(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Endpoint.named(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Endpoint.path(value)  # type: ignore[arg-type]


def test_bytes_path_is_a_type_error() -> None:
    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"/run/svc"

    with pytest.raises(TypeError, match="str"):
        Endpoint.of(BytesPath())  # type: ignore[arg-type]


@pytest.mark.parametrize(("limit", "longest"), [(108, 107), (104, 103)])
def test_path_must_fit_with_its_terminator(limit: int, longest: int) -> None:
    assert len(posix("/" + "a" * (longest - 1), limit)) == longest
    with pytest.raises(InvalidEndpoint, match=f"takes {limit + 1} bytes .* holds {limit}"):
        posix("/" + "a" * longest, limit)
    # The limit counts bytes, not characters.
    with pytest.raises(InvalidEndpoint, match=f"holds {limit}"):
        posix("/" + "\u00e9" * (longest // 2 + 1), limit)


def test_abstract_name_must_fit() -> None:
    assert len(posix(Endpoint.abstract("a" * 107))) == 108
    with pytest.raises(InvalidEndpoint, match="108 bytes long; this system allows 107"):
        posix(Endpoint.abstract("a" * 108))


def test_pipe_path_must_fit() -> None:
    prefix = "\\\\.\\pipe\\"
    assert len(windows(prefix + "a" * 247)) == 256
    with pytest.raises(InvalidEndpoint, match="takes 257 characters; Windows allows 256"):
        windows(prefix + "a" * 248)
    with pytest.raises(InvalidEndpoint, match="Windows allows 256"):
        windows(Endpoint.dotnet("a" * 248))


@pytest.mark.parametrize(
    "path", ["/run/svc.sock", r"C:\svc", r"\\server\pipe\svc", r"\\.\pipe" + "\\", r"\\.\pipe\a\b"]
)
def test_paths_other_than_local_pipes_are_refused_on_windows(path: str) -> None:
    with pytest.raises(InvalidEndpoint, match="not a local pipe"):
        windows(path)


@pytest.mark.parametrize("path", [r"\\.\pipe\svc", r"C:\svc"])
def test_windows_paths_are_refused_elsewhere(path: str) -> None:
    with pytest.raises(InvalidEndpoint, match="Windows path"):
        posix(path)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidEndpoint, match="not a kind of endpoint"):
        Endpoint("bogus", "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("endpoint", ["/tmp/\ud800", Endpoint.abstract("\ud800")])
def test_names_that_cannot_be_encoded_are_refused(endpoint: EndpointLike) -> None:
    with pytest.raises(InvalidEndpoint, match="a path cannot contain"):
        posix(endpoint)


def test_abstract_is_not_supported_on_windows() -> None:
    with pytest.raises(NotSupported, match="plain name works on every system") as caught:
        windows(Endpoint.abstract("svc"))
    assert isinstance(caught.value, OSError)


def test_endpoints_are_hashable_values() -> None:
    assert Endpoint.named("a") == Endpoint.of("a") == Endpoint.of(Endpoint.of("a"))
    assert len({Endpoint.named("a"), Endpoint.dotnet("a"), Endpoint.named("a")}) == 2
    assert str(Endpoint.named("a")) == "named endpoint 'a'"
    assert eval(repr(Endpoint.named("a"))) == Endpoint.named("a")


@pytest.mark.parametrize("module", [ipcpipes, ipcpipes.blocking, ipcpipes.rpc])
def test_public_functions_have_run_time_type_hints(module: Any) -> None:
    for door in ("connect", "listen", "serve", "connect_messages", "listen_messages"):
        function = getattr(module, door, None)
        if function is not None:
            assert typing.get_type_hints(function)["endpoint"]


@pytest.mark.parametrize("kind", ["named", "dotnet", "path"])
async def test_address_is_where_the_server_listens(kind: str, endpoint: Endpoint) -> None:
    where = Endpoint.dotnet(endpoint.name) if kind == "dotnet" else endpoint
    if kind == "path":
        async with await ipcpipes.listen(endpoint):  # which makes the directory
            where = Endpoint.path(endpoint.address + ".path")
    before = where.address
    async with await ipcpipes.listen(where) as listener:
        assert where.address == listener.address == before
        async with await ipcpipes.connect(where.address):
            await (await listener.accept()).aclose()
