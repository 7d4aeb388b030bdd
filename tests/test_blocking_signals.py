"""Ctrl-C, and other signals, while a call waits."""

from __future__ import annotations

import sys

import pytest

from ipcpipes.testing import unique_endpoint

from .conftest import WINDOWS
from .threads import plain_child

# Ctrl-C as the main thread gets it; console events do not work under Wine.
_SETUP = """
import _thread, os, signal
def interrupt():
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        os.kill(os.getpid(), signal.SIGINT)
def interrupted(operation, *arguments, **options):
    # After a while, so that the thread is waiting by then.
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    try:
        operation(*arguments, **options)
    except KeyboardInterrupt:
        return True
    finally:
        timer.join()
    return False
def pair(listen, connect, **options):
    with listen(sys.argv[1], **options) as listener:
        return connect(sys.argv[1], **options), listener.accept()
"""

_STREAM = """
client, server = pair(blocking.listen, blocking.connect)
for timeout in (None, 30):
    assert interrupted(client.receive_some, timeout=timeout)
    assert interrupted(client.receive_into, bytearray(10), timeout=timeout)
server.send_all(b"nothing is lost")
assert client.receive_some() == b"nothing is lost"
client.send_all(b"still good")
assert server.receive_some() == b"still good"
for timeout, (sender, receiver) in {None: (client, server), 30: (server, client)}.items():
    assert interrupted(sender.send_all, bytes(10_000_000), timeout=timeout)
    try:
        sender.send_all(b"x")
    except trio.BrokenResourceError as error:
        assert "interrupted" in str(error)
    else:
        raise AssertionError("a part went out")
client.close()
server.close()
say("done")
"""

_CHANNEL = """
framing = ipcpipes.NATIVE if sys.argv[2] == "native" else ipcpipes.LengthPrefixed()
client, server = pair(blocking.listen_messages, blocking.connect_messages, framing=framing)
for timeout in (None, 30):
    assert interrupted(client.receive, timeout=timeout)
    assert interrupted(client.receive_many, timeout=timeout)
    assert interrupted(client.receive_into, bytearray(10), timeout=timeout)
server.send(b"nothing is lost")
assert client.receive() == b"nothing is lost"
client.send(b"still good")
assert server.receive() == b"still good"
for timeout, (sender, receiver) in {None: (client, server), 30: (server, client)}.items():
    assert interrupted(sender.send_many, [bytes(100_000)] * 200, timeout=timeout)
    try:
        sender.send(b"x")
    except trio.BrokenResourceError as error:
        assert "interrupted" in str(error)
    else:
        raise AssertionError("a part went out")
client.close()
server.close()
say("done")
"""

_DOORS = """
assert interrupted(blocking.connect, sys.argv[1], wait=30)
with blocking.listen(sys.argv[1], max_instances=1) as listener:
    for timeout in (None, 30):
        assert interrupted(listener.accept, timeout=timeout)
    with blocking.connect(sys.argv[1]) as client, listener.accept() as server:
        for timeout in (None, 30):
            assert interrupted(listener.accept, timeout=timeout)
        client.send_all(b"x")
        assert server.receive_some() == b"x"
say("done")
"""

# The handler closes what its own thread is waiting for.
_CLOSE = """
framing = ipcpipes.LengthPrefixed()
for operation in (
    lambda: client.receive(),
    lambda: client.receive(timeout=30),
    lambda: client.send_many([bytes(100_000)] * 200),
    lambda: client.send_many([bytes(100_000)] * 200, timeout=30),
):
    client, server = pair(blocking.listen_messages, blocking.connect_messages)
    signal.signal(signal.SIGINT, lambda *_: client.close())
    try:
        interrupted(operation)
    except trio.ClosedResourceError:
        say("closed")
    server.close()
for timeout in (None, 30):
    with blocking.listen(sys.argv[1]) as listener:
        signal.signal(signal.SIGINT, lambda *_: listener.close())
        try:
            interrupted(listener.accept, timeout=timeout)
        except trio.ClosedResourceError:
            say("closed")
"""


@pytest.mark.parametrize("program", [_STREAM, _DOORS], ids=["stream", "doors"])
def test_ctrl_c_ends_a_waiting_call(program: str) -> None:
    with plain_child(_SETUP + program, unique_endpoint().name) as child:
        assert child.hear() == "done"
        assert child.wait() == 0


@pytest.mark.parametrize("framing", ["framed", "native"])
def test_ctrl_c_ends_a_waiting_channel_call(framing: str) -> None:
    if framing == "native" and sys.platform not in ("linux", "win32"):
        pytest.skip("this system has no native messages")
    with plain_child(_SETUP + _CHANNEL, unique_endpoint().name, framing) as child:
        assert child.hear() == "done"
        assert child.wait() == 0


def test_signal_handler_may_close_what_it_interrupted() -> None:
    with plain_child(_SETUP + _CLOSE, unique_endpoint().name) as child:
        for _ in range(6):
            assert child.hear() == "closed"
        assert child.wait() == 0


@pytest.mark.skipif(WINDOWS, reason="there are no signals that come again and again")
@pytest.mark.parametrize("timeout", ["None", "30"])
def test_harmless_signals_change_nothing(timeout: str) -> None:
    """A handler that returns changes nothing, however often it runs."""
    program = """
        data = bytes(range(256)) * 40_000
        timeout = eval(sys.argv[2])
        count = 0
        def tick(*_):
            global count
            count += 1
        signal.signal(signal.SIGALRM, tick)
        client, server = pair(blocking.listen_messages, blocking.connect_messages)
        def answer():
            for message in server:
                time.sleep(0.05)
                server.send(message)
        thread = threading.Thread(target=answer)
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(5):
            client.send(data, timeout=timeout)
            assert client.receive(timeout=timeout) == data
        signal.setitimer(signal.ITIMER_REAL, 0)
        client.close()
        thread.join()
        server.close()
        assert count > 100, count
        say("done")
        """
    import textwrap

    with plain_child(_SETUP + textwrap.dedent(program), unique_endpoint().name, timeout) as child:
        assert child.hear() == "done"
        assert child.wait() == 0
