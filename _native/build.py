"""The cffi build of ``ipcpipes._ffi``.

Each part is a C file and a file with its declarations (``.cdef``). framing and collisions are for
both systems, the others for POSIX or Windows. The generated source includes the C files, so that
compilers and sanitizers report their real lines.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

# -Wextra finds real faults. The code that cffi generates has unused parameters, so that warning
# is off.
COMPILE_ARGS = {
    "posix": ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
    "win32": ["/W3"],
}
# A part may use the parts before it.
PARTS = {
    "posix": (
        "posix",
        "posix_identity",
        "posix_connections",
        "posix_watching",
        "posix_descriptors",
        "posix_directories",
        "posix_spawning",
        "framing",
        "posix_messages",
        "collisions",
    ),
    "win32": ("windows", "windows_identity", "windows_descriptors", "framing", "collisions"),
}
LIBRARIES: dict[str, list[str]] = {"posix": [], "win32": ["advapi32"]}


def ffibuilder_for(platform: str) -> FFI:
    """Returns the builder for ``"posix"`` or ``"win32"``, on any system: the Windows code is also
    cross-compiled on Linux.
    """
    parts = PARTS[platform]
    sources = [HERE / f"{part}.{end}" for part in parts for end in ("c", "cdef")]
    builder = FFI()
    for part in parts:
        builder.cdef((HERE / f"{part}.cdef").read_text(encoding="utf-8"))
    # The paths are relative to the project, where the build runs, so that every build of a wheel
    # has the same ones.
    builder.set_source(
        "ipcpipes._ffi",
        "".join(f'#include "{part}.c"\n' for part in parts),
        include_dirs=[os.path.relpath(HERE)],
        depends=[os.path.relpath(source) for source in sources],
        libraries=LIBRARIES[platform],
        extra_compile_args=COMPILE_ARGS[platform],
    )
    return builder


ffibuilder = ffibuilder_for("win32" if sys.platform == "win32" else "posix")
