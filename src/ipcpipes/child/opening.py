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

    trio starts each child in a thread, so that the event loop need not wait until the program is
    read from the disk. The thread takes longer than the start, so it is not used if the program is
    in memory already.
    """
    standard = [options.get(name) for name in ("stdin", "stdout", "stderr")]
    if _process_of is not None and subprocess.PIPE not in standard and _os.is_quick(options):
        await trio.lowlevel.checkpoint_if_cancelled()
        kept: list[subprocess.Popen[bytes]] = []
        try:
            popen = _os.start(words, options, kept, only_quickly=True)
            process: trio.Process = _process_of(popen, None, None, None)
        except _os.NotStarted:
            pass  # and any error is raised there
        except BaseException:
            for started in kept:
                _os.give_up(started)
            raise
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return process
    return await trio.lowlevel.open_process(words, **options)
