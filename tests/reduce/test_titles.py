"""Titles of failures: a fact by its name, or nothing; and what is said of a broken file is said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Entry, Run
from rosetta_ref.gate.findings import Finding
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.view import look
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.reduce.run import Asked, run
from rosetta_ref.reduce.search.complaint import complaint
from rosetta_ref.reduce.search.failure import subject_of
from rosetta_ref.reduce.search.search import Budget
from rosetta_ref.zoo import files

META = "F-CONV-META-001"
RAISED = 'Traceback (most recent call last):\n  File "c.py", line 1, in f\nstruct.error: unpack requires 8 bytes\n'


def test_the_factors_of_rope_are_named(tmp_path: Path) -> None:
    (sample,) = (each for each in default(0, types=["F32"], whole_models=True) if each.name == "llama-f32-llama3")
    source = write.write(sample, "safetensors", tmp_path / "source", "directory")
    sample.model.tensors.pop(mapping.FACTORS)
    target = write.write(sample, "gguf", tmp_path / "target", "directory")
    with look(source) as before, look(target) as after:
        found = [finding for finding in judge_metadata(before, after).findings if finding.kind == "scaling-lost"]
    assert [subject_of(finding) for finding in found] == ["rope_freqs"]


@pytest.mark.parametrize(
    ("kind", "detail", "subject"),
    [
        ("config-missing", "there is no config.json", ""),
        ("scaling-lost", "the factors of the frequencies are not there", ""),  # as older folders have it
        ("tokenizer-broken", "it cannot be read: no JSON", ""),
        ("number-wrong", "rope_theta is 1.0, and was 2.0", "rope_theta"),
        ("words-wrong", "merges: 1 of 2 differ", "merges"),
        ("key-lost", "general.name: it is not there", "general.name"),
    ],
)
def test_a_word_that_names_no_fact_is_no_subject(kind: str, detail: str, subject: str) -> None:
    assert subject_of(Finding(kind, META, detail)) == subject


class Says:
    """It converts nothing: what it says is what is asked about."""

    def __init__(self, says: Callable[[Path, Path], Run]) -> None:
        self.entry, self._says = Entry("says", function="none:none", pairs=PAIRS), says

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        return self._says(src, dst)


def test_a_broken_file_that_ends_in_a_traceback_is_told_so_once(tmp_path: Path) -> None:
    source = files.in_gguf(files.floats("F32", 1, 2, 3, 4))(tmp_path)
    source.write_bytes(source.read_bytes()[:-7])
    asked = Asked(source, "apr", None, budget=Budget(calls=8), output=tmp_path / "out")
    made = run(Says(lambda src, dst: Run(CRASHED, 1, stderr=RAISED, detail="exit code 1, with a traceback")), asked)
    assert made.found.fingerprint.kind == "refused-by-traceback"
    title, *others = (made.folder / "report.md").read_text().splitlines()
    assert title.startswith("# GGUF to APR: a broken file ends in a Python traceback (")
    assert any("struct.error: unpack requires 8 bytes" in line for line in others)


def test_what_is_followed_is_the_line_that_says_why() -> None:
    warned = "c.py:3: UserWarning: an error may follow\n  warnings.warn('an error may follow')\n"
    told = Run(REFUSED, 1, stderr=f"error: Q8_0 is not supported\n{warned} 50%|#####     | 1/2\n", detail="exit code 1")
    assert complaint(told) == "error: Q8_0 is not supported (exit code 1)"
    assert complaint(Run(ACCEPTED, 0, detail="exit code 0")) == "exit code 0"
