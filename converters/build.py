"""Builds a converter of this folder outside the tree and prints the path of its program: `NAME-convert`.

    export PATH="$(dirname "$(python converters/build.py apr-0.25.0)"):$PATH"

What there is to build with says how: Cargo.toml, go.mod, requirements.txt, or crate.txt for a crate that is a
program; each with the versions of what is judged.
Builds and programs are kept in FOLDER (default: $ROSETTA_CONVERTERS, else ~/.cache/rosetta-ref/converters): a second build
is a look at the clock.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("ROSETTA_CONVERTERS", Path.home() / ".cache" / "rosetta-ref" / "converters"))


def build(name: str, folder: Path) -> Path:
    """Build converter `name` and return its program, `folder`/bin/`name`-convert."""
    source, work, program = HERE / name, folder / "build" / name, folder / "bin" / f"{name}-convert"
    for directory in (work, program.parent):
        directory.mkdir(parents=True, exist_ok=True)
    if (source / "Cargo.toml").exists():
        _cargo(source, work, program)
    elif (source / "go.mod").exists():
        _go(source, work, program)
    elif (source / "crate.txt").exists():
        _crate(source, work, program)
    elif (source / "requirements.txt").exists():
        _pip(source, work, program)
    else:
        raise SystemExit(f"{source}: no converter, or nothing that says how to build it")
    return program


def _cargo(source: Path, work: Path, program: Path) -> None:
    # In a copy: cargo writes its lock file beside Cargo.toml, and that is no part of the tree.
    shutil.copytree(source, work / "source", dirs_exist_ok=True)
    _run("cargo", "build", "--release", "--manifest-path", work / "source" / "Cargo.toml", "--target-dir", work)
    (built,) = (path for path in (work / "release").iterdir() if path.is_file() and os.access(path, os.X_OK))
    shutil.copy2(built, program)


def _crate(source: Path, work: Path, program: Path) -> None:
    """A program of crates.io, with a script before it that calls it as the gate calls."""
    name, version = (source / "crate.txt").read_text("utf-8").split()
    _run("cargo", "install", name, "--version", version, "--locked", "--root", work, "--target-dir", work / "target")
    _script(program, sys.executable, source / "convert.py", work / "bin" / name)


def _go(source: Path, work: Path, program: Path) -> None:
    # -buildvcs: the checkout may belong to another user.
    _run("go", "build", "-C", source, "-trimpath", "-buildvcs=false", "-o", work / "program", ".", CGO_ENABLED="0")
    shutil.copy2(work / "program", program)


def _pip(source: Path, work: Path, program: Path) -> None:
    python = work / "bin" / "python"
    if not python.exists():
        venv.create(work, with_pip=True)
    _run(python, "-m", "pip", "install", "--quiet", "--requirement", source / "requirements.txt")
    _script(program, python, source / "convert.py")


def _script(program: Path, *command: str | Path) -> None:
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
    program.chmod(0o755)


def _run(*command: str | Path, **environment: str) -> None:
    """Run a tool; what it prints goes to standard error, where the path of the program is not looked for."""
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, env={**os.environ, **environment})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(path.parent.name for path in HERE.glob("*/entry.toml")))
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    print(build(arguments.name, arguments.folder.resolve()))
