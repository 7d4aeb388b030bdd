"""The cffi build of ``ipcpipes._ffi``.

Each part is a C file and a file of its declarations (``.cdef``): framing and collisions,
which are common, and those of each side, POSIX and Windows. The C files are taken into the
generated source by ``#include``, so that compilers and sanitizers name their own lines.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

# /W4 and -Wextra find real faults; cffi's own generated code leaves parameters
# unused, which is the one warning it is let off.
COMPILE_ARGS = {
    "posix": ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
    "win32": ["/W3"],
}
# A part may use the ones before it.
PARTS = {
    "posix": ("posix", "posix_identity", "posix_descriptors", "framing", "collisions"),
    "win32": ("windows", "windows_identity", "windows_descriptors", "framing", "collisions"),
}
LIBRARIES: dict[str, list[str]] = {"posix": [], "win32": ["advapi32"]}


def ffibuilder_for(platform: str) -> FFI:
    """The builder for one side: ``"posix"`` or ``"win32"``, on whatever system
    this runs (the Windows side is also cross-built on Linux).
    """
    parts = PARTS[platform]
    sources = [HERE / f"{part}.{end}" for part in parts for end in ("c", "cdef")]
    builder = FFI()
    for part in parts:
        builder.cdef((HERE / f"{part}.cdef").read_text(encoding="utf-8"))
    # The path is relative to the project, where the build runs, so that it
    # stands the same in every wheel's build.
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
