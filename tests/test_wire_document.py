"""docs/wire.md shows the bytes that the framings, the headers and the handshake really send, and
its clients in other languages work.
"""

from __future__ import annotations

import array
import ast
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, ContentLength, Framing, LengthPrefixed, Lines, blocking
from ipcpipes._os.handles.headers import NO_HANDLES, handle_header
from ipcpipes.abc import MOST_DESCRIPTORS
from ipcpipes.authentication import challenge
from ipcpipes.testing import unique_endpoint

from .children import SECONDS
from .conftest import WINDOWS

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "wire.md"

if not DOCUMENT.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")
NAMES = {"NATIVE": NATIVE, "ContentLength": ContentLength, "Lines": Lines}
NAMES["LengthPrefixed"] = LengthPrefixed
LARGEST = 2**63 - 1
SOCKET: Any = socket  # for mypy: Windows does not have all names of this module

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="SOCK_SEQPACKET is Linux's")
posix_only = pytest.mark.skipif(WINDOWS, reason="Windows has pipes, not sockets")
windows_only = pytest.mark.skipif(not WINDOWS, reason="about Windows pipes")


def section(title: str) -> str:
    """The text below a heading, up to the next heading of its level. (One # is a comment.)"""
    (found,) = re.findall(rf"^(#+) {re.escape(title)}$\n", TEXT, re.MULTILINE)
    pattern = rf"^{found} {re.escape(title)}$\n(.*?)(?=^#{{2,{len(found)}}} |\Z)"
    (text,) = re.findall(pattern, TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def rows(text: str, head: str) -> list[list[str]]:
    """The rows of the tables whose first heading is ``head``, without backquotes."""
    found = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.startswith(f"| {head} |"):
            inside = True
        elif inside and set(line) - set("|- "):
            found.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return found


def block(text: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def framing_of(text: str) -> Any:
    return eval(text, NAMES)


def messages_of(text: str) -> list[bytes]:
    return list(ast.literal_eval(f"[{text}]"))


def framings() -> list[Any]:
    """A framing, messages, and their bytes, of each row."""
    return [
        pytest.param(framing_of(row[0]), messages_of(row[1]), bytes.fromhex(row[2]), id=row[0])
        for row in rows(TEXT, "framing")
        if row[0] != "NATIVE" and re.fullmatch("[0-9a-f ]+", row[2]) and row[1][0] == "b"
    ]


# The framings


def test_each_framing_has_a_table() -> None:
    shown = {type(parameter.values[0]) for parameter in framings()}
    ours = {kind for kind in vars(ipcpipes).values() if kind in Framing.__subclasses__()}
    assert shown == ours
    widths = {
        (framing.width, framing.byteorder)
        for framing in (parameter.values[0] for parameter in framings())
        if isinstance(framing, LengthPrefixed)
    }
    # With 1 byte, there is no order.
    both = {(width, order) for width in (2, 4, 8) for order in ("little", "big")}
    assert widths == both | {(1, "little")}


@pytest.mark.parametrize(("framing", "messages", "octets"), framings())
def test_the_bytes_are_those_of_the_framing(
    framing: Framing, messages: list[bytes], octets: bytes
) -> None:
    assert b"".join(piece for one in messages for piece in framing.frame(one)) == octets
    assert framing.join(messages) == octets
    assert list(framing.splitter().split(octets)) == messages


@pytest.mark.parametrize(("framing", "messages", "octets"), framings())
async def test_a_channel_sends_these_bytes_and_no_others(
    framing: Framing, messages: list[bytes], octets: bytes
) -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint) as listener:
        channel = await ipcpipes.connect_messages(endpoint, framing=framing)
        async with await listener.accept() as stream:
            async with channel:
                await channel.send_many(messages)
            assert b"".join([data async for data in stream]) == octets


def test_the_largest_sizes_are_those_of_the_code() -> None:
    written = rows(section("Lengths of other sizes"), "framing")
    assert len(written) == 7
    for name, _, _, largest in written:
        framing = eval(name[:-1] + f", max_size={LARGEST})", NAMES)
        assert framing.max_size == eval(largest.replace(",", ""))
    assert f"16 MiB ({LengthPrefixed().max_size:,} bytes)" in TEXT


def test_received_lines_are_those_of_the_code() -> None:
    table = [row for row in rows(section("Lines"), "framing") if not row[1].startswith("b")]
    assert len(table) == 4
    for name, octets, result in table:
        splitter = framing_of(name).splitter()
        messages, _, error = result.partition("`, then `")
        found = list(splitter.split(bytes.fromhex(octets)))
        if error:
            with pytest.raises(getattr(ipcpipes, error)):
                splitter.end()
        else:
            found += splitter.end() or ()
        assert found == messages_of(messages), name


def test_content_length_accepts_what_is_written() -> None:
    data = b"content-LENGTH:  2\r\nContent-Type: text/plain\r\n\r\n{}"
    assert list(ContentLength().splitter().split(data)) == [b"{}"]
    fit = b"Content-Length: 2\r\nA: "
    fit += b"a" * (4096 - len(fit)) + b"\r\n\r\n{}"
    assert list(ContentLength().splitter().split(fit)) == [b"{}"]
    faulty = (b"A" + fit, b"A: a\r\n\r\n{}", b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
    for data in faulty:
        with pytest.raises(ipcpipes.FramingError):
            list(ContentLength().splitter().split(data))


# Native messages


def native_messages() -> list[bytes]:
    table = [row for row in rows(section("Native messages"), "framing") if row[0] == "NATIVE"]
    assert len(table) == 2
    for _, message, octets in table:
        assert octets == (ast.literal_eval(message).hex(" ") or "none: the message has 0 bytes")
    return [ast.literal_eval(message) for _, message, _ in table]


@linux_only
async def test_a_native_message_is_a_packet_on_linux() -> None:
    messages = native_messages()
    listener = await ipcpipes.listen_messages(unique_endpoint(), framing=NATIVE)
    async with listener:
        with SOCKET.socket(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM) as wrong:
            with pytest.raises(OSError, match="wrong type"):  # EPROTOTYPE
                wrong.connect(listener.address)
        with SOCKET.socket(SOCKET.AF_UNIX, SOCKET.SOCK_SEQPACKET) as client:
            client.connect(listener.address)
            client.setsockopt(SOCKET.SOL_SOCKET, SOCKET.SO_PASSCRED, 1)
            async with await listener.accept() as channel:
                await channel.send_many(messages)
                received = [client.recvmsg(100, 100) for _ in messages]
                assert [data for data, *_ in received] == messages
                assert all(ancillary for _, ancillary, *_ in received)
                client.send(b"answer")
                assert await channel.receive() == b"answer"
            assert client.recvmsg(100, 100)[:2] == (b"", [])


@windows_only
async def test_a_native_message_is_what_a_pipe_carries_on_windows() -> None:
    messages = native_messages()
    endpoint = unique_endpoint()
    async with await ipcpipes.listen_messages(endpoint, framing=NATIVE) as listener:
        stream = await ipcpipes.connect(endpoint)
        channel = await listener.accept()
        async with stream, channel:
            await channel.send(messages[0])
            assert await stream.receive_some() == messages[0]


# Descriptors


def headers() -> list[tuple[list[bytes], bytes]]:
    """Messages with a header before them, and their bytes."""
    return [
        (re.sub("[`,]", "", text).encode().split(b" then "), bytes.fromhex(octets))
        for text, octets in rows(section("On Windows"), "header, then message")
    ]


def test_the_headers_are_those_of_the_code() -> None:
    (first, first_bytes), (second, second_bytes) = headers()
    assert first == [NO_HANDLES, b"hello"]
    assert second == [handle_header(4711, [0x1A4, 0x2B0]), b"hello"]
    assert LengthPrefixed().join(first) == first_bytes
    assert LengthPrefixed().join(second) == second_bytes
    for title in ("On Windows", "On Linux and macOS"):
        assert f"1 to {MOST_DESCRIPTORS} " in section(title)


@windows_only
async def test_a_channel_for_handles_sends_the_header_on_windows() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint) as listener:
        channel = await ipcpipes.connect_messages(endpoint, max_descriptors=1)
        async with await listener.accept() as stream:
            async with channel:
                await channel.send(b"hello")
            assert b"".join([data async for data in stream]) == headers()[0][1]


@posix_only
async def test_descriptors_are_sent_with_the_frame_on_posix() -> None:
    (frame,) = {
        bytes(parameter.values[2])
        for parameter in framings()
        if parameter.values[:2] == (LengthPrefixed(), [b"hello"])
    }
    reading, writing = os.pipe()
    listener = await ipcpipes.listen_messages(unique_endpoint(), max_descriptors=1)
    async with listener:
        with SOCKET.socket(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM) as client:
            client.connect(listener.address)
            async with await listener.accept() as channel:
                await channel.send_descriptors(b"hello", [writing])
                data, ancillary, *_ = client.recvmsg(100, SOCKET.CMSG_SPACE(4))
                assert data == frame
                ((level, kind, number),) = ancillary
                assert (level, kind) == (SOCKET.SOL_SOCKET, SOCKET.SCM_RIGHTS)
                (sent,) = array.array("i", number)
                client.sendmsg([frame], [(level, kind, array.array("i", [reading]))])
                message, (received,) = await channel.receive_descriptors()
                assert message == b"hello"
    os.write(sent, b"through both")
    assert os.read(received, 100) == b"through both"
    for descriptor in (reading, writing, sent, received):
        os.close(descriptor)


# The handshake


def test_the_proofs_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    text = section("The handshake of authkey")
    key = challenge.derive_key(b"0123456789abcdef")
    nonces = iter((b"\x11", b"\x22"))
    monkeypatch.setattr(secrets, "token_bytes", lambda size: size * next(nonces))
    client = challenge.Handshake("client", key)
    server = challenge.Handshake("server", key)
    client_hello = client.outgoing
    server.receive(client_hello)
    answer = server.outgoing
    client.receive(answer)
    client_proof = client.outgoing
    server.receive(client_proof)
    assert server.missing == client.missing == 0
    assert server.outgoing == b""
    proofs = [answer[40:], client_proof]
    assert block(text, "text").split() == [proof.hex() for proof in proofs]

    table = rows(text, "sender")
    assert [int(size) for _, _, size, _ in table] == [len(client_hello), 40, *map(len, proofs)]
    assert f"one message of {len(answer)} bytes" in text
    for sent, row in ((client_hello, table[0]), (answer, table[1])):
        begins = row[3].partition("`")[0].encode().decode("unicode_escape").encode()
        assert sent.startswith(begins)
        assert len(begins) == 8
    assert f"may take {challenge.DEFAULT_SECONDS:g} seconds" in text
    (refusal,) = re.findall(r"line that begins with `(.*?)`", text)
    assert challenge.REFUSAL.startswith(refusal.encode().decode("unicode_escape").encode())


def test_the_program_prints_the_proofs() -> None:
    text = section("The handshake of authkey")
    program = block(text, "python")
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert result.stdout == block(text, "text")


# Clients in other languages


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Runs the server of the document at a name of its own. The value is its address."""
    name = unique_endpoint().name
    program = block(section("A client in Node.js"), "py")
    assert program.count('"shouter"') == 1
    (folder / "server.py").write_text(program.replace('"shouter"', f'"{name}"'), "utf-8")
    server = subprocess.Popen([sys.executable, str(folder / "server.py")])
    try:
        with blocking.connect(name, wait=SECONDS):
            pass
        yield output_of([sys.executable, "-m", "ipcpipes", "address", name]).strip()
    finally:
        server.kill()
        server.wait(SECONDS)
        with blocking.listen(name):
            pass  # removes the socket file that the killed server left


def output_of(command: list[str], seconds: float = SECONDS, **options: Any) -> str:
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=seconds,
        check=False,
        **options,
    )
    assert result.returncode == 0, result.stdout
    return str(result.stdout)


# A client is checked wherever its language is. (In CI it is everywhere, except under Wine.)
@pytest.mark.skipif(
    shutil.which("node") is None and (WINDOWS or "CI" not in os.environ),
    reason="there is no Node.js here",
)
def test_the_client_in_node(tmp_path: Path) -> None:
    text = section("A client in Node.js")
    (tmp_path / "client.mjs").write_text(block(text, "js"), "utf-8")
    node = shutil.which("node")
    assert node is not None
    with running_server(tmp_path) as address:
        printed = output_of([node, str(tmp_path / "client.mjs"), address, "hello", "you"])
        assert printed == block(text, "text")
        # A large message arrives in parts; the arguments of a process are not large enough for it.
        program = block(text, "js").replace("process.argv.slice(2)", "[process.argv[2], large]")
        (tmp_path / "large.mjs").write_text(f'const large = "a".repeat(1e6);\n{program}', "utf-8")
        assert output_of([node, str(tmp_path / "large.mjs"), address]) == 10**6 * "A" + "\n"


def dotnet_version() -> int:
    """The major version of the .NET SDK, or 0 if no SDK is installed."""
    dotnet = shutil.which("dotnet")
    if dotnet is None:
        return 0
    found = subprocess.run([dotnet, "--version"], capture_output=True, text=True, check=False)
    return int(found.stdout.partition(".")[0]) if found.returncode == 0 else 0


@pytest.mark.skipif(dotnet_version() < 5, reason="there is no .NET SDK here")
def test_the_client_in_csharp(tmp_path: Path) -> None:
    (tmp_path / "Program.cs").write_text(block(section(r"A client in C\#"), "csharp"), "utf-8")
    (tmp_path / "client.csproj").write_text(
        '<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType>'
        f"<TargetFramework>net{dotnet_version()}.0</TargetFramework>"
        "<UseAppHost>false</UseAppHost></PropertyGroup></Project>",
        "utf-8",
    )
    environment = {**os.environ, "DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1"}
    # The first build on a machine is slow.
    build = ["dotnet", "build", "--nologo", "-o", str(tmp_path / "built")]
    output_of(build, 240, cwd=tmp_path, env=environment)
    with running_server(tmp_path) as address:
        command = ["dotnet", str(tmp_path / "built" / "client.dll"), address, "hello", "you"]
        printed = output_of(command, env=environment)
    assert printed == block(section("A client in Node.js"), "text")


async def test_an_end_between_messages_and_inside_of_one() -> None:
    endpoint = unique_endpoint()
    for data, error in ((b"\x01\0\0\0a", trio.EndOfChannel), (b"\x01\0", trio.BrokenResourceError)):
        async with await ipcpipes.listen_messages(endpoint) as listener:
            stream = await ipcpipes.connect(endpoint)
            async with await listener.accept() as channel:
                async with stream:
                    await stream.send_all(data)
                if error is trio.EndOfChannel:
                    assert await channel.receive() == b"a"
                with pytest.raises(error) as caught:
                    await channel.receive()
    assert isinstance(caught.value.__cause__, ipcpipes.IncompleteMessage)
