"""The contenders' programs: each is one end of a case.

A program gets a scenario, a role, a name, a size and a number of connections as arguments, and
follows the protocol in :mod:`benchmarks.pair`. A Python program is a module here and a line in
:data:`MODULES`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from . import c_programs

Command = Sequence[str]

MODULES = {
    "ipcpipes": "ipcpipes_trio",
    "ipcpipes, transact": "ipcpipes_nowait",
    "ipcpipes, send_nowait": "ipcpipes_nowait",
    "ipcpipes.blocking": "ipcpipes_blocking",
    "ipcpipes.blocking, transact": "ipcpipes_blocking_transact",
    "ipcpipes.rpc": "ipcpipes_rpc",
    "ipcpipes.rpc.blocking": "ipcpipes_rpc_blocking",
    "trio.SocketStream": "trio_socket_stream",
    "trio.SocketStream + frames": "trio_frames",
    "trio.SocketStream + frames, buffered": "trio_frames_buffered",
    "trio.socket": "trio_socket",
    "trio.lowlevel.FdStream": "trio_fd_stream",
    "trio.lowlevel.open_process": "trio_process",
    "bare trio": "trio_bare",
    "asyncio streams": "asyncio_streams",
    "asyncio streams, uvloop": "asyncio_uvloop",
    "multiprocessing.connection": "multiprocessing_connection",
    "multiprocessing.Pipe": "multiprocessing_pipe",
    "multiprocessing.Manager": "multiprocessing_manager",
    "os.write, os.readv": "os_pipe",
    "subprocess.Popen": "subprocess_popen",
    "pyzmq": "zmq_pair",
    "grpcio": "grpc_calls",
}


class NotInstalled(Exception):
    """Raised when a contender cannot run here; the text says what is missing."""


@cache
def command(program: str, scratch: Path, child: str | None = None) -> Command:
    """Returns the command that starts the program. C programs are compiled into ``scratch``.

    Args:
        child: a C program that the program will start.

    Raises:
        NotInstalled: the program cannot start.
    """
    if child is not None:
        _compiled(child, scratch)
    if program == "C":
        return [_compiled("c_blocking", scratch)]
    module = f"{__name__}.{MODULES[program]}"
    # In a process of its own, because a broken installation may do worse than raise ImportError.
    trial = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True
    )
    if trial.returncode != 0:
        raise NotInstalled((trial.stderr.splitlines() or [f"ended with {trial.returncode}"])[-1])
    return [sys.executable, "-m", module]


def _compiled(name: str, scratch: Path) -> str:
    if shutil.which(c_programs.COMPILER) is None:
        raise NotInstalled(f"there is no {c_programs.COMPILER}")
    return str(c_programs.compiled(name, scratch))
