"""Converters that read only the files that they wrote: what they accept of broken ones is asked with their own outputs.

Each marks its files with a key, and has the reference convert; a file without the mark is none of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr, gguf
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate.converter.entry import ACCEPTED, REFUSED, Entry, Run
from rosetta_ref.gate.converter.fields import FIELDS, as_flags
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Result
from rosetta_ref.gate.run.engine import run, samples_for

MARK = "general.author"
AUTHOR = "written-by-this-test"
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
Read = Callable[[Path, Path, int], None]
CLAIM = {"reads_own_files_only": ("gguf", "apr")}


def marked(path: Path) -> None:
    """Write a file anew with the key that says whose it is."""
    with open_archive(path) as archive:
        value = Value.scalar(Kind.STRING, AUTHOR) if archive.format == "gguf" else AUTHOR
        made = Archive(archive.format, {**archive.metadata, MARK: value}, dict(archive.tensors))
        other = path.with_name("other" + path.suffix)
        (gguf if archive.format == "gguf" else apr).write(made, other)
    other.replace(path)


class Own:
    """Reads and writes Hugging Face models, and of one other format its own files alone; `read` says how broken ones are read."""

    def __init__(self, letter: str, read: Read, **claims: object) -> None:
        pairs = (f"S-{letter}", f"{letter}-S")
        self.entry = replace(
            Entry("own", pairs=pairs, architectures=("llama",), types=("F32",), whole_models=True), **claims
        )
        self._read = read
        self.foreign = self._size = 0

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert."""
        try:
            if src.is_dir():
                convert(src, dst)
                marked(dst)
                self._size = dst.stat().st_size
                return Run(ACCEPTED, 0)
            if AUTHOR.encode() not in src.read_bytes():
                self.foreign += "malformed" not in src.parts
                return Run(REFUSED, 1, stderr="not written by this program")
            self._read(src, dst, self._size)
        except (RosettaError, OSError) as error:
            return Run(REFUSED, 1, stderr=str(error))
        return Run(ACCEPTED, 0)


def rightly(src: Path, dst: Path, size: int) -> None:
    convert(src, dst)


def fills_up(src: Path, dst: Path, size: int) -> None:
    """What is missing at the end is zeros."""
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / src.name
        filled.write_bytes(src.read_bytes().ljust(size, b"\0"))
        convert(filled, dst)


def answers(letter: str, read: Read, seed: int, **claims: object) -> tuple[Own, list[Result]]:
    converter = Own(letter, read, **claims)
    samples = [one for one in samples_for(converter.entry, seed) if one.name == "llama-f32-tied"]
    only = [f"F-CONV-SAFE-001/{'gguf' if letter == 'G' else 'apr'}/*"]
    return converter, run(converter, seed=seed, samples=samples, only=only)


#: Cuts that leave the header whole.
IN_DATA = {f"gguf/cut/{where}-data" for where in ("in", "before")}


def fallen(results: list[Result]) -> set[str]:
    """The rules, without places, whose breach is accepted."""
    wrong = [one.case.partition("@")[0] for one in results if one.outcome == FALSIFIED]
    return {case.partition("/")[2] for case in wrong}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("claims", [{}, CLAIM], ids=["unsaid", "claimed"])
@pytest.mark.parametrize("letter", ["G", "A"])
def test_who_refuses_broken_files_of_its_own_passes(letter: str, claims: dict[str, object], seed: int) -> None:
    converter, found = answers(letter, rightly, seed, **claims)
    assert len(found) > 40
    assert {one.case: one.reason for one in found if one.outcome != CORROBORATED} == {}
    assert any("/cut/" in one.case for one in found)
    assert converter.foreign == (0 if claims else 1)  # who says that it reads no other is given no other


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("claims", [{}, CLAIM], ids=["unsaid", "claimed"])
def test_who_fills_up_a_truncated_file_of_its_own_falls(claims: dict[str, object], seed: int) -> None:
    found = answers("G", fills_up, seed, **claims)[1]
    assert "gguf/cut/last-byte-of-data" in fallen(found)
    assert fallen(found) <= {"gguf/cut/last-byte-of-data", "gguf/cut/anywhere"} | IN_DATA, fallen(found)
    assert SKIPPED not in {one.outcome for one in found}


def test_what_is_not_its_own_is_skipped_and_chains_are_judged() -> None:
    converter = Own("G", rightly, **CLAIM)
    samples = [one for one in samples_for(converter.entry, 0) if one.name == "llama-f32-tied"]
    found = run(converter, samples=samples, only=["F-CONV-003/*", "F-CONV-ABA-001/S-G-S/*"])
    ours, chains = ([one for one in found if (one.gate == "F-CONV-003") is third] for third in (True, False))
    assert ours
    assert {one.outcome for one in ours} == {SKIPPED}
    assert {one.reason for one in ours} == {"the entry says that of gguf it reads only the files that it wrote"}
    assert chains
    assert {one.reason for one in chains if one.outcome != CORROBORATED} == set()
    assert converter.foreign == 0


@pytest.mark.parametrize(
    ("said", "read"),
    [(["apr"], ("apr",)), (["gguf", "apr", "gguf"], ("gguf", "apr")), (True, ("gguf", "apr")), (False, ()), ([], ())],
)
def test_the_claim_is_a_list_of_formats(said: object, read: tuple[str, ...]) -> None:
    assert FIELDS["reads_own_files_only"].read(said) == read


@pytest.mark.parametrize("said", ["apr", ["onnx"], [["apr"]], [1], {"apr": True}, 3, None])
def test_another_claim_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r"a list is wanted|unknown format"):
        FIELDS["reads_own_files_only"].read(said)


def test_the_claim_is_a_flag_too() -> None:
    field = FIELDS["reads_own_files_only"]
    assert as_flags({"reads_own_files_only": ("apr", "gguf")}) == ["--reads-own-files-only=apr,gguf"]
    assert field.read(field.text("apr, gguf")) == ("apr", "gguf")
