"""The sessions of this project; ``nox -l`` lists them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox

FOLDERS = [
    *("src", "tests", "examples", "benchmarks", "_native"),
    *("fuzz", "campaigns", "website"),
]
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite against the installed wheel."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session(python=False)
def py314(session: nox.Session) -> None:
    """Run the test suite on the Python 3.14 of Debian's forky (Linux, as root; debootstrap)."""
    session.run("bash", "tests/python314.sh", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff, and spelling with codespell."""
    session.install(".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # The second dictionary has words that this project does not use.
    dictionaries = ("-D", "-", "-D", "website/words.txt")
    documents = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "src")
    session.run("codespell", *dictionaries, *documents)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site of the documents in build/site; "-- --serve" shows it."""
    session.install(".[docs]")
    session.run("python", "-m", "website.build", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy --strict, for each system."""
    session.install(".[lint,test]")
    for platform in ("linux", "darwin", "win32"):
        session.run("mypy", "--platform", platform, *FOLDERS)
    session.run("mypy", "noxfile.py", "setup.py")


@nox.session
def windows(session: nox.Session) -> None:
    """Run the test suite on the Windows CPython under Wine, or what is named (Linux only)."""
    session.install("cffi>=2.0", "packaging", "setuptools")
    if session.posargs:
        session.run("python", "tests/wine/testbed.py", "--", *session.posargs)
    else:
        session.run("python", "-m", "tests.wine.halves")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the framings and remote calls, 10 minutes in all ("-- --seconds 60", "-- lines")."""
    # The fuzzer has wheels for each of PYTHONS, but only on Linux (x86-64). No version is named
    # here, because nox would skip the session where that version is missing, and report success.
    session.install("--only-binary=atheris", ".", "atheris>=2.3")
    session.run("python", "-m", "fuzz", *session.posargs)


@nox.session
def campaign(session: nox.Session) -> None:
    """Run the random campaigns, 10 minutes each ("-- --seconds 60", "-- rpc-timeouts")."""
    session.install(".")
    session.run("python", "-m", "campaigns", *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests over the C layer with ASan and UBSan, 10 minutes ("-- --seconds 60"; gcc)."""
    # In a copy of the sources, because setuptools leaves its results beside the sources, and would
    # use them for the next build.
    copy = Path(session.create_tmp()) / "source"
    shutil.rmtree(copy, ignore_errors=True)
    built = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
    for folder in ("_native", "src"):
        shutil.copytree(folder, copy / folder, ignore=built)
    for file in ("LICENSE", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy2(file, copy)
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
    session.install(
        f"{copy}[test]",
        env={"CC": "gcc", "CFLAGS": f"{flags} -g -fno-omit-frame-pointer", "LDFLAGS": flags},
    )
    session.run("python", "-m", "fuzz.sanitized", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist, a wheel from it, and use the wheel."""
    session.install("build", "twine")
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    session.run("twine", "check", "--strict", *map(str, dist.iterdir()))
    (wheel,) = dist.glob("*.whl")
    if "-cp310-abi3-" not in wheel.name:
        session.error(f"{wheel.name} is not an abi3 wheel")
    session.install(str(wheel))
    session.chdir(session.create_tmp())
    session.run("python", "-m", "ipcpipes", "echo", "--seconds", "0.5")


@nox.session
def bench(session: nox.Session) -> None:
    """Compare with C, trio and other libraries: table, JSON, chart (needs gcc)."""
    session.install(".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def frozen(session: nox.Session) -> None:
    """Freeze a program that starts itself as a child, and run it."""
    session.install(".", "pyinstaller>=6.10")
    folder = session.create_tmp()
    program = Path(__file__).parent / "tests" / "frozen" / "program.py"
    for kind in ("--onedir", "--onefile"):
        dist = Path(folder, kind.strip("-"))
        options = ("--distpath", str(dist), "--workpath", folder, "--specpath", folder)
        session.run("pyinstaller", "--noconfirm", kind, *options, str(program), silent=True)
        name = "program.exe" if sys.platform == "win32" else "program"
        found = next(path for path in dist.rglob(name) if path.is_file())
        session.run(str(found), external=True)
