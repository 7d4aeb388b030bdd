"""Makes the :class:`trio.Process` of a child."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import trio

from .. import _os


def _maker() -> Any:
    """Returns the function that makes a trio.Process of a subprocess.Popen; ``None`` if this
    version of trio is not known here. trio has no public name for that function.
    """
    parameters = ["self", "popen", "stdin", "stdout", "stderr"]
    if list(inspect.signature(trio.Process.__init__).parameters) != parameters:
        return None
    return getattr(trio.Process, "_create", None)


_process_of = _maker()


async def open_process(words: Sequence[Any], options: Mapping[str, Any]) -> trio.Process:
    """Does what ``trio.lowlevel.open_process(words, **options)`` does.

    trio starts each child in a thread. That costs more than the start itself where the system has a
    quick way, and it does not keep the event loop going: until the program has begun, subprocess
    does not let other threads run Python code. (With preexec_fn, it does, and that takes the
    thread.)
    """
    standard = [options.get(name) for name in ("stdin", "stdout", "stderr")]
    if _process_of is None or subprocess.PIPE in standard or not _os.is_quick(options):
        return await trio.lowlevel.open_process(words, **options)
    await trio.lowlevel.checkpoint_if_cancelled()
    kept: list[subprocess.Popen[bytes]] = []
    try:
        process: trio.Process = _process_of(_os.start(words, options, kept), None, None, None)
    except BaseException:
        for started in kept:
            _os.give_up(started)
        raise
    await trio.lowlevel.cancel_shielded_checkpoint()
    return process
