"""Two bugs in one converter: the fingerprint keeps the one that was followed; budgets; nothing is converted twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.architectures.aprender import GGUF_METADATA
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Entry, Run
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.folder.replay import FAILED, FIXED, replay
from rosetta_ref.reduce.passes.tensors import bare
from rosetta_ref.reduce.run import Asked, run
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.claims import is_claimed
from rosetta_ref.reduce.search.failure import Wanted
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.search import Budget
from rosetta_ref.reduce.shrink import NothingFailsError
from rosetta_ref.zoo import MEMBERS, files
from rosetta_ref.zoo.member import unchecked
from tests.support.few import few_members


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Which of all the members is named is asked by test_diagnosis and test_zoo."""
    with few_members(
        "k-scales-bit-stream", "q5_0-interleaved", "q4_1-skips-two-bytes", "f16-scale-as-bf16", "gate-and-up-exchanged",
        "inverse-permutation-is-forward", "rope-theta-forgotten", "norm-plus-one-everywhere",
    ):  # fmt: skip
        yield


class Both:
    """The reference with several parts replaced. Remembers the inputs that it was given."""

    def __init__(self, *names: str) -> None:
        self.entry = Entry("both", function="none:none", pairs=PAIRS, whole_models=False)
        self._names = names
        self.seen: list[bytes] = []

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, wrong in each way."""
        self.seen.append(src.read_bytes() if src.is_file() else b"token_embd")
        with ExitStack() as stack:
            stack.enter_context(unchecked())
            for name in self._names:
                stack.enter_context(MEMBERS[name].broken())
            model = b"token_embd" in self.seen[-1]
            try:
                convert(src, dst, keep_blocks=False, keep_names=not model, durable=False)
            except RosettaError as error:
                return Run(REFUSED, 1, stderr=str(error))
        return Run(ACCEPTED, 0)


def blocks(name: str, kind: str, rows: int = 2) -> Tensor:
    """A few blocks in which every bit is used."""
    elements = 512
    data = block_bytes(TYPES[kind], rows * elements // TYPES[kind].elements, "index", 1)
    return Tensor.of(name, TYPES[kind], (rows, elements), data)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Tensors of three types."""
    tensors = [blocks("x.weight", "Q4_K"), blocks("y.weight", "Q5_0", rows=4), blocks("z.weight", "Q8_0")]
    metadata = {"general.name": Value.scalar(Kind.STRING, "two bugs")}
    path = tmp_path / "source" / "two.gguf"
    path.parent.mkdir()
    gguf.write(Archive("gguf", metadata, {tensor.name: tensor for tensor in tensors}), path)
    return path


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("k-scales-bit-stream", "q5_0-interleaved"), "Q4_K"),
        (("q5_0-interleaved", "f16-scale-as-bf16"), "Q5_0"),
    ],
)
def test_the_first_bug_is_kept(names: tuple[str, str], kind: str, source: Path, tmp_path: Path) -> None:
    made = run(Both(*names), Asked(source, "safetensors", output=tmp_path / "out"))
    (tensor,) = inputs.read(made.folder / "input.gguf").tensors.values()
    assert set(made.found.fingerprint.cause) & set(names)
    if made.found.fingerprint.cause == (names[0],):
        assert tensor.type.name == kind
    assert tensor.count == tensor.type.elements


def test_the_gate_chooses(tmp_path: Path) -> None:
    """Wrong numbers in config.json and wrong rows of k."""
    both = ("inverse-permutation-is-forward", "rope-theta-forgotten")
    path = files.model_in("gguf", heads=(2, 1), head_dim=6, width=12, numbers={"rope.freq_base": 500000.0})(
        tmp_path / "s"
    )
    for gate, name in (("F-CONV-003", both[0]), ("F-CONV-META-001", both[1])):
        made = run(
            Both(*both), Asked(path, "safetensors", wanted=Wanted(gate), budget=Budget(20), output=tmp_path / "out")
        )
        assert made.found.fingerprint.gate == gate
        assert made.found.fingerprint.cause == (name,), made.found.fingerprint


def test_nothing_is_converted_twice_and_the_source_is_left_alone(source: Path, tmp_path: Path) -> None:
    (source.parent / "other.gguf").write_bytes(b"no model")
    before = {path: path.read_bytes() for path in source.parent.iterdir()}
    both = Both("k-scales-bit-stream")
    made = run(both, Asked(source, "safetensors", output=tmp_path / "out"))
    *tried, again, once_more = both.seen
    assert len(set(tried)) == len(tried) == made.found.calls
    assert again == once_more == (made.folder / "input.gguf").read_bytes()
    assert {path: path.read_bytes() for path in source.parent.iterdir()} == before
    assert not list(made.folder.rglob("other*"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [made.folder.name]


@pytest.mark.parametrize("budget", [Budget(calls=3), Budget(seconds=0.0)])
def test_a_spent_budget_is_said_and_leaves_the_best(budget: Budget, source: Path, tmp_path: Path) -> None:
    both = Both("k-scales-bit-stream")
    made = run(both, Asked(source, "safetensors", budget=budget, output=tmp_path / "out"))
    assert len(both.seen) <= 3
    assert "ended early" in made.notes[0]
    assert inputs.read(made.folder / "input.gguf").tensors


def test_an_interrupt_keeps_the_best(source: Path, tmp_path: Path) -> None:
    def told(search: object) -> None:
        if len(both.seen) > 2:
            raise KeyboardInterrupt

    both = Both("k-scales-bit-stream")
    made = run(both, Asked(source, "safetensors", output=tmp_path / "out"), told)
    assert "interrupted" in made.notes[0]
    assert made.after < made.before


def test_any_failure_takes_another_one(source: Path, tmp_path: Path) -> None:
    """Where anything counts, the simplest type that fails is left; else the type of the first failure stays."""
    names = ("k-scales-bit-stream", "q4_1-skips-two-bytes")
    kept = run(Both(*names), Asked(source, "safetensors", output=tmp_path / "kept"))
    loose = run(Both(*names), Asked(source, "safetensors", any_failure=True, output=tmp_path / "loose"))
    assert kept.after == 256
    assert loose.after <= kept.after


def test_read_and_write_are_inverse(source: Path, tmp_path: Path) -> None:
    given: Given = inputs.read(source)
    again = inputs.read(inputs.write(given, tmp_path / "again"))
    assert {name: tensor.data.tobytes() for name, tensor in given.tensors.items()} == {
        name: tensor.data.tobytes() for name, tensor in again.tensors.items()
    }
    assert dict(given.metadata) == dict(again.metadata)


# What a converter says where it gives nothing


class Picky:
    """Refuses, or falls over, types, and whatever has no architecture; says why."""

    def __init__(self, *types: str, outcome: str = REFUSED, **claims: object) -> None:
        self.entry = Entry("picky", function="none:none", pairs=PAIRS, **claims)  # type: ignore[arg-type]
        self._types, self._outcome = types, outcome

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Look at all tensors, then at the metadata."""
        given = inputs.read(src)
        for tensor in given.tensors.values():
            if tensor.type.name in self._types:
                said = f"{src}: tensor '{tensor.name}': {tensor.type.name} is not supported"
                return Run(self._outcome, 1, stderr=f"reading\n{said}\nnote: ask somebody", detail="exit code 1")
        if "general.name" not in given.metadata:
            return Run(self._outcome, 1, stderr=f"error: no 'general.name' in {src}", detail="exit code 1")
        convert(src, dst, keep_names=True)
        return Run(ACCEPTED, 0)


@pytest.mark.parametrize("outcome", [REFUSED, CRASHED])
def test_the_reason_is_kept(outcome: str, tmp_path: Path) -> None:
    path = tmp_path / "source.gguf"
    tensors = [
        Tensor.of(f"{kind.lower()}.weight", TYPES[kind], (2, 256), block_bytes(TYPES[kind], 16, "index", 1))
        for kind in ("Q4_0", "Q8_0")
    ]
    metadata = {
        "general.author": Value.scalar(Kind.STRING, "a"),
        "general.name": Value.scalar(Kind.STRING, "n"),
    }
    gguf.write(Archive("gguf", metadata, {tensor.name: tensor for tensor in tensors}), path)
    made = run(Picky("Q8_0", outcome=outcome), Asked(path, "safetensors", output=tmp_path / "out"))
    small = inputs.read(made.folder / "input.gguf")
    assert [(tensor.name, tensor.type.name) for tensor in small.tensors.values()] == [("a", "Q8_0")]
    assert "Q8_0 is not supported" in made.found.fingerprint.subject
    assert "q8_0.weight" not in made.found.fingerprint.subject


def test_what_is_not_claimed_may_be_refused(tmp_path: Path) -> None:
    source = files.model_in("gguf")(tmp_path)
    claims = {"architectures": ("llama",), "types": ("F32",), "whole_models": True}
    found = run(Picky("F32", **claims), Asked(source, "safetensors", output=tmp_path / "out"))
    assert is_claimed(inputs.read(found.folder / "input.gguf"), Picky(**claims).entry)
    assert found.after < found.before
    bare = run(Picky("F32", types=("F32",)), Asked(source, "safetensors", output=tmp_path / "bare"))
    assert len(inputs.read(bare.folder / "input.gguf").tensors) == 1


# Somebody's files


class Spoiling:
    """Cuts its input in two, and gives back the half."""

    def __init__(self) -> None:
        self.entry = Entry("spoiling", function="none:none", pairs=PAIRS, whole_models=False)

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Write where it should read."""
        convert(src, dst, keep_names=True)
        src.write_bytes(src.read_bytes()[: src.stat().st_size // 2])
        return Run(ACCEPTED, 0)


def test_an_input_that_is_written_into_is_a_copy(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    made = run(Spoiling(), Asked(source, "safetensors", output=tmp_path / "out"))
    assert source.read_bytes() == before
    assert made.found.fingerprint.kind == "touched"
    assert len(inputs.read(made.folder / "input.gguf").tensors) == 1
    assert replay(made.folder, Spoiling()).word == FAILED
    assert replay(made.folder, named.made(bundled.entry("reference"))).word == FIXED


def test_nobody_elses_files_come_along(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    convert(files.model_in("gguf")(tmp_path), folder, keep_blocks=False, extra_keys=False)
    for name in ("passwords.txt", "credentials.json", "notes.model"):
        (folder / name).write_text("secret")
    for path in (folder, next(folder.glob("*.safetensors"))):
        found = run(
            Both("norm-plus-one-everywhere"), Asked(path, "gguf", budget=Budget(1), output=tmp_path / "out" / path.name)
        )
        assert "config.json" in {file.name for file in found.folder.rglob("*")}
        assert not any(b"secret" in file.read_bytes() for file in found.folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "name",
    [
        "F-CONV-003-values-k-scales-bit-stream",
        pytest.param("F-CONV-003-values-k-scales-bit-stream-2", marks=pytest.mark.slow),
    ],
)
def test_a_folder_with_anything_else_in_it_is_left_alone(name: str, tmp_path: Path) -> None:
    make = MEMBERS["k-scales-bit-stream"].shown_by
    assert make is not None
    source = make(tmp_path)
    asked = Asked(source, "safetensors", output=tmp_path / "out")
    (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out" / name / "thesis.txt").write_text("years of work")
    first = run(Both("k-scales-bit-stream"), asked).folder
    assert first.name != name
    assert run(Both("k-scales-bit-stream"), asked).folder == first, "its own is put in the place of the last one"
    assert (tmp_path / "out" / name / "thesis.txt").read_text() == "years of work"
    again = run(Both("k-scales-bit-stream"), Asked(first / "input.gguf", "safetensors", output=tmp_path / "out")).folder
    assert again != first, "the model that was asked about is in there"
    assert (first / "input.gguf").read_bytes() == (again / "input.gguf").read_bytes()


class Sometimes(Both):
    """Is wrong in all calls but some."""

    def __init__(self, name: str, right: range) -> None:
        super().__init__(name)
        self._right = right

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """As the last digit of the call says."""
        names, self._names = self._names, () if len(self.seen) in self._right else self._names
        try:
            return super().convert(src, dst)
        finally:
            self._names = names


def test_what_fails_only_sometimes_is_said(source: Path, tmp_path: Path) -> None:
    steady = Both("k-scales-bit-stream")
    run(steady, Asked(source, "safetensors", output=tmp_path / "steady"))
    last = len(steady.seen) - 1
    made = run(
        Sometimes("k-scales-bit-stream", range(last, last + 1)),
        Asked(source, "safetensors", output=tmp_path / "out"),
    )
    assert made.notes == ["it fails only sometimes: 2 of 3 conversions of the smallest input did"]
    assert "It fails only sometimes" in (made.folder / "report.md").read_text()


def test_what_the_reference_gets_wrong_too_leaves_no_folder(tmp_path: Path) -> None:
    metadata = {"general.architecture": Value.scalar(Kind.STRING, "llama")}
    one = Tensor.of("who.knows", TYPES["Q4_K"], (1, 256), block_bytes(TYPES["Q4_K"], 1, "index", 1))
    gguf.write(Archive("gguf", metadata, {one.name: one}), tmp_path / "source.gguf")
    asked = Asked(tmp_path / "source.gguf", "safetensors", budget=Budget(1), output=tmp_path / "out")
    with pytest.raises(NothingFailsError, match="reference"):
        run(Both("k-scales-bit-stream"), asked)
    assert not list(tmp_path.glob("out/*"))


def test_shards_that_do_not_matter_become_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    convert(files.model_in("gguf")(tmp_path), folder, keep_blocks=False, extra_keys=False, max_shard_size=1000)
    assert len(list(folder.glob("*.safetensors"))) > 1
    made = run(Both("gate-and-up-exchanged"), Asked(folder, "gguf", output=tmp_path / "out"))
    assert [path.name for path in made.folder.glob("input/*.safetensors")] == ["model.safetensors"]
    assert not list(made.folder.glob("input/*.index.json"))


def test_another_conversion_has_another_folder(tmp_path: Path) -> None:
    source = files.model_in("gguf", numbers={"rope.freq_base": 500000.0})(tmp_path)
    convert(source, tmp_path / "model.apr", keep_blocks=False, extra_keys=False)
    made = [
        run(Both("rope-theta-forgotten"), Asked(path, "safetensors", budget=Budget(8), output=tmp_path / "out")).folder
        for path in (source, tmp_path / "model.apr", source)
    ]
    assert made[0] == made[2] != made[1]
    assert [next(path.glob("input.*")).suffix for path in made] == [".gguf", ".apr", ".gguf"]


def test_any_failure_is_told_as_what_it_is(tmp_path: Path) -> None:
    """The last one that was followed stands in the folder, under its own name, and is shown again."""
    source = files.model_in("gguf", numbers={"rope.freq_base": 500000.0})(tmp_path)

    class Falls(Both):
        def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
            if "general.architecture" not in inputs.read(src).metadata:
                return Run(CRASHED, 1, stderr="boom")
            return super().convert(src, dst)

    falls = Falls("rope-theta-forgotten")
    made = run(falls, Asked(source, "safetensors", any_failure=True, output=tmp_path / "out"))
    assert made.found.fingerprint.kind == "crashed"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [made.folder.name]
    assert replay(made.folder, falls).word == FAILED
    kept = run(falls, Asked(source, "safetensors", output=tmp_path / "kept"))
    assert kept.found.fingerprint.cause == ("rope-theta-forgotten",)


def test_weights_that_an_index_names_deeper_are_copied(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    one = Tensor.of("a", TYPES["F32"], (2,), np.ones(2, np.float32))
    safetensors.write(Archive("safetensors", {}, {"a": one}), folder / "deep" / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "deep/part.safetensors"}}')
    (folder / "deep" / "secret.txt").write_text("not the model's")
    copy = inputs.copied(folder, tmp_path / "copy")
    there = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert there == {"deep/part.safetensors", "model.safetensors.index.json"}
    assert safetensors.read(copy).tensors["a"].values().tolist() == [1, 1]


def test_bare_means_bare() -> None:
    """Of what APR carries of a GGUF file the alignment stays, and nothing else, not even an empty list."""
    alignment = {"key": "general.alignment", "type": "u32", "value": 64}
    other = {"key": "general.name", "type": "string", "value": "n"}
    one = Tensor.of("a", TYPES["F32"], (1,), np.ones(1, np.float32))
    for carried, left in (([other, alignment], {GGUF_METADATA: [alignment]}), ([other], {}), ("no list", {})):
        assert bare(Given("apr", ({"a": one},), {"name": "n", GGUF_METADATA: carried})).metadata == left
