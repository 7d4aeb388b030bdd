"""Opens paths that a client has named, in functions that run as the client."""

from __future__ import annotations

import errno
import os
import stat
import sys

from .._os.common.own_thread import is_acting

if sys.platform == "win32":
    from .._os.windows.client_files import check_path, open_path
else:
    from .._os.posix.client_files import check_path, open_path

__all__ = ["open_for_client"]


def open_for_client(
    path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o600
) -> int:
    r"""Opens a path that a client has named, as :func:`os.open` does, but refuses paths that lead
    into the server process itself.

    Use it with ``run_as_client``, instead of :func:`open`::

        with open(await stream.run_as_client(ipcpipes.open_for_client, path), "rb") as file: ...

    The system checks the access as it would for the client. But some paths mean something else in
    each process, and the thread that acts as the client is still a thread of the server:
    ``/proc/self/fd/5`` and ``/dev/fd/5`` are files that the server has open, ``/proc/self/maps``
    and ``/proc/self/environ`` show its memory and secrets, ``CONIN$`` is its console. This function
    refuses these paths. It also refuses everything that is neither a regular file nor a directory,
    because such a file might make the thread wait for a peer that never comes.

    It can also be the ``opener`` of :func:`open`, in a function that runs as the client.

    Linux: openat2(2) with RESOLVE_NO_MAGICLINKS (Linux 5.6). On older kernels, and in a sandbox
    without openat2, all links are resolved to a path first, which is then opened step by step
    without following links. (In this case a magic link counts as the path that it shows, and the
    system decides whether the client may open that path.) A directory in a file system that the
    client provides (FUSE) can still make the thread wait.

    Windows: only paths that begin with a drive (``C:\...``), and only regular files, because
    :func:`os.open` does not open directories there. The bytes of the file are read and written
    unchanged (O_BINARY).

    Args:
        path: an absolute path.
        flags: the flags of :func:`os.open`. Children never inherit the descriptor.
        mode: the mode of a file that is created, before the umask.

    Returns:
        A descriptor, which belongs to you: close it, or give it to :func:`open` or
        :func:`os.fdopen`.

    Raises:
        RuntimeError: this thread does not act as a client; your program's mistake.
        ValueError: ``path`` is not absolute (it would be relative to the server's directory), or on
            Windows it does not begin with a drive.
        OSError: the client may not open the path, or it does not exist, or this function refuses
            it: a PermissionError for a file in procfs, or one that is not a regular file or
            directory; ELOOP for a magic link.
        NotSupported: macOS and the BSDs, where no thread can act as a client.
    """
    if not is_acting():
        raise RuntimeError("call open_for_client only in a function that run_as_client runs")
    name = os.fspath(path)
    check_path(name)
    fd = open_path(name, flags, mode)
    try:
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise PermissionError(
                errno.EACCES, "a client may open only regular files and directories", name
            )
    except BaseException:
        os.close(fd)
        raise
    return fd
