"""Malformed files become small: one lie in one tensor of one block, with the rule of our own reader kept."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from rosetta_ref.gate import malformed
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Converter, Entry, Run
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.passes.malformed import Malformed, is_malformed, shrink_malformed
from rosetta_ref.reduce.search.candidate import Oracle, refusal
from rosetta_ref.reduce.search.search import Budget, SpentError
from rosetta_ref.reduce.shrink import failure_of
from rosetta_ref.zoo import MEMBERS, adapter, files
from rosetta_ref.zoo.member import Make

MAKES: dict[str, Callable[..., Make]] = {
    "gguf": files.in_gguf,
    "apr": files.in_apr,
    "safetensors": files.in_safetensors,
}


def several(kind: str, folder: Path) -> Path:
    tensors = [replace(files.floats("F32", *range(16), rows=3), name=f"t{n}.weight") for n in range(5)]
    return MAKES[kind](*tensors)(folder)


def shrunk(converter: Converter, source: Path, work: Workspace, target: str, calls: int = 64) -> Malformed:
    oracle = Oracle(converter, target, work)
    fingerprint, seen = failure_of(oracle, source)
    assert is_malformed(fingerprint)
    search = Malformed.of(oracle, fingerprint, seen, Budget(calls=calls))
    shrink_malformed(search)
    assert search.fingerprint.fits(search.seen.findings[0])
    return search


@dataclass
class Of:
    """A converter that does what a function of the input's bytes says."""

    says: Callable[[bytes], Run]
    entry: Entry = field(default_factory=lambda: Entry("made-up"))

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        run = self.says(src.read_bytes())
        if run.accepted:
            files.in_apr(files.floats("F32", 1))(dst.parent / "made").replace(dst)
        return run


@pytest.fixture
def work():
    with Workspace() as made:
        yield made


@pytest.mark.parametrize(("kind", "target"), [("gguf", "safetensors"), ("apr", "gguf"), ("safetensors", "gguf")])
def test_a_truncated_file_becomes_one_number_without_its_last_byte(
    kind: str, target: str, tmp_path: Path, work: Workspace
) -> None:
    source = several(kind, tmp_path)
    source.write_bytes(source.read_bytes()[:-150])
    search = shrunk(adapter.converter(MEMBERS["truncation-accepted"]), source, work, target)
    (entry,) = search.best.tensors
    assert (entry.name, entry.dims, entry.size, len(entry.data)) == (b"a", (1,), 4, 3)
    assert search.best.lies == {"file.size": search.nbytes}
    assert search.nbytes < 300
    assert not search.best.metadata


def test_a_shard_becomes_one_number_and_a_flag(tmp_path: Path, work: Workspace) -> None:
    source = MEMBERS["shard-taken-for-whole"].shown_by(tmp_path)
    search = shrunk(adapter.converter(MEMBERS["shard-taken-for-whole"]), source, work, "gguf")
    (entry,) = search.best.tensors
    assert (entry.dims, search.best.lies) == ((1,), {"header.flags": 0x410})
    assert search.fingerprint.subject == "FlagError"


def test_a_converter_that_believes_a_huge_count_is_shown_nothing_but_the_count(tmp_path: Path, work: Workspace) -> None:
    def says(data: bytes) -> Run:
        (tensors,) = struct.unpack_from("<Q", data, 8)
        return Run(CRASHED, None, detail="MemoryError") if tensors > 2**32 else Run(REFUSED, 1, stderr="no")

    twin = files.model_in("gguf", tokenizer=True)(tmp_path / "twin")
    files_ = {file.rule: file for file in malformed.from_file(twin, 0)}
    source = files_["gguf/tensor-count-past-the-end"].write(tmp_path / "broken")
    search = shrunk(Of(says), source, work, "apr")
    assert search.best.lies == {"header.tensor_count": 2**40}
    assert not search.best.metadata
    assert search.nbytes <= 32
    assert (search.fingerprint.kind, search.fingerprint.subject) == ("crashed", "ImpossibleCountError")


def test_a_second_failure_is_not_followed(tmp_path: Path, work: Workspace) -> None:
    """It takes every file; ours refuses the broken one for two reasons, and the first that is told stays."""
    source = several("gguf", tmp_path)
    data = bytearray(source.read_bytes()[:-150])
    start = data.index(b"t4.weight") - 8
    struct.pack_into("<I", data, start + 8 + 9 + 4 + 16, 99)  # a type that there is not
    source.write_bytes(data)
    shown: list[bytes] = []
    search = shrunk(Of(lambda data: (shown.append(data), Run(ACCEPTED, 0))[1]), source, work, "apr")
    assert search.fingerprint.subject == "UnknownTensorTypeError"
    rules = []
    for number, candidate in enumerate(shown):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(candidate)
        rules.append(type(refusal(path)).__name__)
    assert set(rules) == {"UnknownTensorTypeError"}, "what our reader takes for something else costs no call"
    assert list(search.best.lies) == ["tensor[0].type"]


def test_overlapping_tensors_are_two(tmp_path: Path, work: Workspace) -> None:
    twin = several("apr", tmp_path / "twin")
    file = next(file for file in malformed.from_file(twin, 0) if file.rule == "apr/tensors-overlap")
    source = file.write(tmp_path / "broken")
    search = shrunk(Of(lambda _: Run(ACCEPTED, 0)), source, work, "apr")
    assert [entry.dims for entry in search.best.tensors] == [(1,), (1,)]
    assert search.best.lies == {"tensor[1].offset": 0}


def test_a_spent_budget_leaves_the_best_so_far(tmp_path: Path, work: Workspace) -> None:
    source = several("gguf", tmp_path)
    source.write_bytes(source.read_bytes()[:-150])
    oracle = Oracle(adapter.converter(MEMBERS["truncation-accepted"]), "safetensors", work)
    fingerprint, seen = failure_of(oracle, source)
    search = Malformed.of(oracle, fingerprint, seen, Budget(calls=2))
    with pytest.raises(SpentError):
        shrink_malformed(search)
    assert search.nbytes < source.stat().st_size


def test_a_file_that_breaks_another_rule_costs_no_call(tmp_path: Path, work: Workspace) -> None:
    source = several("gguf", tmp_path)
    whole = source.read_bytes()
    source.write_bytes(whole[:-150])
    oracle = Oracle(Of(lambda _: Run(ACCEPTED, 0)), "apr", work)
    fingerprint, seen = failure_of(oracle, source)
    search = Malformed.of(oracle, fingerprint, seen)
    honest = search.best.telling({})
    calls = oracle.calls
    assert not search.first([honest, search.best.telling({**search.best.lies, "header.version": 9})])
    assert oracle.calls == calls
    assert search.first([search.best.with_tensors([3, 4]).telling({"file.size": 300})])
    assert oracle.calls == calls + 1
