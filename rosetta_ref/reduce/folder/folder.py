"""The folder that a reduction leaves: the input, what came of it, what should have, and how to show it to somebody.

It is made beside its place and put there by one rename, so that a folder of that name is whole at any moment.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from rosetta_ref import evidence
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.formats.registry import BY_SUFFIX
from rosetta_ref.gate.findings import FALSIFIED, Result
from rosetta_ref.gate.report.files import evidence_json
from rosetta_ref.limits import LimitExceededError
from rosetta_ref.reduce.folder import annotate, report, script
from rosetta_ref.reduce.folder import expected as expected_json
from rosetta_ref.reduce.folder.expected import Expected
from rosetta_ref.reduce.folder.output import UnwritableError, keep_output, write_text
from rosetta_ref.reduce.folder.report import LARGE
from rosetta_ref.reduce.search.candidate import Found, Oracle
from rosetta_ref.reduce.search.failure import fitting
from rosetta_ref.reduce.search.input import files as files_of
from rosetta_ref.reduce.search.input import size_of

#: What stands in a folder beside the input and what came of it; a project may run it as a test.
_NAMES = (expected_json.NAME, "report.md", "annotated.txt", "build.py", "evidence.json")
_OUTPUTS = ("actual.gguf", "actual.apr", "actual.safetensors")


def write(found: Found, oracle: Oracle, folder: Path, flags: str = "") -> Path:
    """Make the folder, in the place of one that is there; `flags` are what a replay is told to mean the same converter."""
    made = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A name that nobody foresees, and a folder that nobody else writes into until it has its own name.
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        _fill(found, oracle, made, folder, flags)
        made.chmod(0o755)
        _put(made, folder)
    except OSError as error:
        raise UnwritableError(f"cannot write: {error.strerror or error}", file=folder) from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def place_for(name: str, output: Path, model: Path, way: tuple[str, str]) -> Path:
    """Where a folder of that name may stand: in the place of one that a reduction of the same conversion has left, else of nothing.

    `way` are the formats. A folder with anything else in it, or with the model, stays, and another number is taken.
    """
    for number in count(1):
        folder = output / (name if number == 1 else f"{name}-{number}")
        if not os.path.lexists(folder):
            return folder
        if _is_ours(folder, way) and not model.resolve().is_relative_to(folder.resolve()):
            return folder
    raise AssertionError("there is always another number")


def _is_ours(folder: Path, way: tuple[str, str]) -> bool:
    """Whether it holds what a reduction of that conversion leaves, and nothing else."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        there = expected_json.load(folder)
    except (RosettaError, OSError):
        return False
    if (there.source_format, there.target_format) != way:
        return False
    return all(_belongs(Path(path), folder, there) for path in _below(folder))


def _below(folder: Path) -> Iterator[Path]:
    """All that is in a folder but for folders; links are none."""
    for top, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(top) / name).is_symlink()]
        yield from (Path(top) / name for name in [*names, *links])


def _belongs(path: Path, folder: Path, there: Expected) -> bool:
    """Whether a file is one that a reduction leaves, by its place. In the folder of an output any name may be."""
    name = path.relative_to(folder).as_posix()
    top, _, rest = name.partition("/")
    if path.is_symlink() or not path.is_file():
        return False
    if top == "__pycache__":
        return path.suffix == ".pyc"
    return name in _NAMES or name in there.files or top == "actual" or (not rest and name in _OUTPUTS)


def _put(made: Path, folder: Path) -> None:
    """In the place of a folder of that name; where another process puts one at the same time, the later one stays away."""
    old = made.with_name(f"{made.name}.old")
    with suppress(FileNotFoundError):
        folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    shutil.rmtree(old, ignore_errors=True)


def _fill(found: Found, oracle: Oracle, folder: Path, place: Path, flags: str) -> None:
    """Write the files of the folder that is to be `place`."""
    seen, entry = found.seen, oracle.converter.entry
    given, files = _copy_input(seen.source, folder)
    actual = _copy_actual(seen.target, folder)
    reference = oracle.reference_output(seen.source)
    expected = Expected(
        found.fingerprint, sniff(seen.source), oracle.target_format, given,
        {file: expected_json.sha256(folder / file) for file in files},
        oracle.asked, entry.safetensors_as, entry.loses,
        {"name": entry.name, "command": entry.command, "function": entry.function}, expected_json.right(reference),
        expected_json.wrong(fitting(found.fingerprint, seen.findings)[0]), expected_json.versions(),
    )  # fmt: skip
    expected.write(folder)
    told = report.Told(expected, found, oracle, place, actual, size_of(seen.source), flags)
    write_text(folder / "report.md", report.markdown(told))
    evidence.write(folder / "evidence.json", evidence_json([_result(found, oracle, place.name)], entry))
    if size_of(seen.source) <= LARGE:
        contents = {file: (folder / file).read_bytes() for file in files}
        write_text(folder / "build.py", script.build_script(contents))
        write_text(folder / "annotated.txt", _annotated(folder, expected, actual))


def _annotated(folder: Path, expected: Expected, actual: str | None) -> str:
    try:
        return annotate.text(folder, expected, actual)
    except LimitExceededError as error:  # what a converter writes may be of any size
        return f"{error}\n"


def _copy_input(source: Path, folder: Path) -> tuple[str, list[str]]:
    """The input, under its name: `input.gguf`, or in `input/` where it is several files. Its path, and all of its files."""
    files = files_of(source)
    home = source if source.is_dir() else source.parent
    inside = Path("input") if source.is_dir() or len(files) > 1 else Path()
    names = []
    for file in files:
        suffix = file.suffix if file.suffix in BY_SUFFIX else f".{sniff(source)}"
        place = inside / (f"input{suffix}" if len(files) == 1 and file == source else file.relative_to(home))
        if not expected_json.is_name(place.as_posix()):
            raise UnwritableError("a file of that name cannot stand in a folder", file=file)
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(
            file, folder / place
        )  # of a new folder; `files_of` names regular files alone, none out of the model's
        names.append(place.as_posix())
    if source.is_dir():
        return "input", names
    return (names[0] if len(files) == 1 else (inside / source.name).as_posix()), names


def _copy_actual(target: Path | None, folder: Path) -> str | None:
    if target is None:
        return None
    name = "actual" if target.is_dir() else f"actual{target.suffix}"
    keep_output(target, folder / name)
    return name


def _result(found: Found, oracle: Oracle, name: str) -> Result:
    """The failure as a case of the gate."""
    seen, run = found.seen, found.seen.run
    findings = fitting(found.fingerprint, seen.findings)
    return Result(
        f"{found.fingerprint.gate}/{name}", found.fingerprint.gate, FALSIFIED, str(findings[0]) if findings else "",
        expected=max(seen.compared, 1), compared=seen.compared, findings=findings, sample=name,
        source_format=sniff(seen.source), target_format=oracle.target_format, seconds=run.seconds, memory=run.memory,
        exit_code=run.exit_code, stdout=run.stdout, stderr=run.stderr,
        diagnosis=" + ".join(found.fingerprint.cause) or None, link=report.link_of(found.fingerprint), reproduction=Path(name),
    )  # fmt: skip


def summary(found: Found, folder: Path, nbytes: int) -> Mapping[str, Any]:
    """In a few words, as JSON. The size is given: the input is gone with the workspace that it was made in."""
    return {
        "folder": str(folder),
        "fingerprint": found.fingerprint.as_json(),
        "bytes": nbytes,
        "calls": found.calls,
        "origin": found.origin,
    }
