"""Failures that are looked for: found in what is drawn, small at the end, and the same failure all along."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rosetta_ref import cli
from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.entry import REFUSED, Converter, Entry, Run
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.candidate import Oracle
from rosetta_ref.reduce.search.failure import Fingerprint
from rosetta_ref.reduce.search.generated import NoHypothesisError, NoInputsError, generate
from rosetta_ref.reduce.shrink import failure_of
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter
from tests.support.few import few_members

#: A command line that reads the scales of Q4_K wrongly. Each of its calls leaves a line in a file.
WRONG = """
import sys
from rosetta_ref.zoo import MEMBERS
with open(sys.argv[3], "a") as calls:
    print(sys.argv[1], file=calls)
MEMBERS["k-scales-bit-stream"].convert(sys.argv[1], sys.argv[2])
"""


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Which of all the members is named is asked by test_diagnosis and test_zoo."""
    with few_members(
        "k-scales-bit-stream", "q5_0-interleaved", "aprq8-labelled-q8_0", "header-padding-not-counted", "drops-biases"
    ):
        yield


class Counted:
    """A converter whose calls are counted."""

    def __init__(self, one: Converter, **claims: object) -> None:
        self._one = one
        self.entry = replace(one.entry, **claims)
        self.calls = 0

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        self.calls += 1
        return self._one.convert(src, dst, type=type)


class Refusing:
    """A converter that refuses whatever it gets."""

    def __init__(self, **claims: object) -> None:
        self.entry = Entry("refusing", **claims)  # type: ignore[arg-type]

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        return Run(REFUSED, 1)


@pytest.fixture
def work() -> Iterator[Workspace]:
    with Workspace() as made:
        yield made


def seen_in(one: Converter, path: Path, target: str, work: Workspace) -> Fingerprint:
    return failure_of(Oracle(one, target, work), path)[0]


def test_a_function_is_shrunk_to_one_block(work: Workspace) -> None:
    one = Counted(converter(MEMBERS["k-scales-bit-stream"]), types=("Q4_K",))
    found = generate(one, "gguf", "safetensors", work=work)
    assert found is not None
    assert one.calls <= 100
    made = inputs.read(found)
    assert [(t.name, t.type.name, t.shape) for t in made.tensors.values()] == [("a", "Q4_K", (256,))]
    assert not made.metadata
    assert seen_in(one, found, "safetensors", work).cause == ("k-scales-bit-stream",)


@pytest.mark.parametrize(
    ("member", "source", "target", "tensors", "named"),
    [
        ("q5_0-interleaved", "gguf", "safetensors", [("Q5_0", (32,))], True),
        ("aprq8-labelled-q8_0", "apr", "gguf", [("AprQ8", ())], True),
        # One number is a constant, which bears out no diagnosis.
        ("header-padding-not-counted", "safetensors", "gguf", [("I64", ())], False),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_of_all_types_the_one_is_found(
    member: str, source: str, target: str, tensors: list[tuple[str, tuple[int, ...]]], named: bool, work: Workspace
) -> None:
    one = converter(MEMBERS[member])
    found = generate(one, source, target, work=work)
    assert found is not None
    made = inputs.read(found)
    assert [(t.type.name, t.shape) for t in made.tensors.values()] == tensors
    assert seen_in(one, found, target, work).cause == ((member,) if named else ())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_only_a_model_shows_is_found(work: Workspace) -> None:
    one = converter(MEMBERS["drops-biases"])
    found = generate(one, "gguf", "safetensors", examples=60, work=work)
    assert found is not None
    made = inputs.read(found)
    assert made.metadata["general.architecture"].plain() == "qwen2"
    assert made.metadata["qwen2.block_count"].plain() == 1
    assert not any(tensor.data.any() for tensor in made.tensors.values())


def test_the_first_failure_is_kept(work: Workspace) -> None:
    """Of a converter with two bugs what is left in the end shows the one that was seen first."""

    class Two(Counted):
        def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
            self.calls += 1
            q4 = any(tensor.type.name == "Q4_K" for tensor in inputs.read(src).tensors.values())
            return converter(MEMBERS["k-scales-bit-stream" if q4 else "q5_0-interleaved"]).convert(src, dst)

    causes = set()
    for seed in range(2):
        one = Two(converter(MEMBERS["q5_0-interleaved"]), types=("Q4_K", "Q5_0"))
        found = generate(one, "gguf", "safetensors", seed=seed, work=work)
        assert found is not None
        tensors = list(inputs.read(found).tensors.values())
        cause = seen_in(one, found, "safetensors", work).cause
        assert (len(tensors), tensors[0].type.name) == (1, {"q5_0-interleaved": "Q5_0"}.get(cause[0], "Q4_K"))
        causes.add(cause)
    assert len(causes) == 2


def test_the_reference_shows_nothing(work: Workspace) -> None:
    one = Counted(named.made(bundled.entry("reference")))
    assert generate(one, "gguf", "apr", examples=20, work=work) is None
    assert 15 <= one.calls <= 20, "a file that is drawn again is not converted again"
    assert list(work.path.iterdir()) == [], "what was drawn is not left"


def test_a_refusal_counts_where_something_was_promised(work: Workspace) -> None:
    assert generate(Refusing(), "gguf", "apr", examples=5, work=work) is None
    assert generate(Refusing(types=("F32",)), "gguf", "apr", examples=5, work=work) is None
    assert generate(Refusing(types=("F32",), whole_models=False), "gguf", "apr", examples=5, work=work) is not None


def test_an_entry_that_takes_nothing_is_an_error(work: Workspace) -> None:
    with pytest.raises(NoInputsError):
        generate(Refusing(types=("Q4_K",)), "safetensors", "gguf", work=work)


def test_without_hypothesis_the_extra_is_named(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(NoHypothesisError) as raised:
        generate(Refusing(), "gguf", "apr", work=work)
    assert "rosetta-ref[strategies]" in str(raised.value.hint)


# The guide's commands do this in every run: docs/shrink.md.
@pytest.mark.slow
def test_a_command_is_left_to_the_reducer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    command = f"{sys.executable} {tmp_path}/wrong.py {{src}} {{dst}} {tmp_path}/calls"
    code = cli.main(
        ["shrink", "--from", "gguf", "--to", "safetensors", "--converter", command, "--types", "Q4_K", "--json",
         "--output", str(tmp_path / "out")]
    )  # fmt: skip
    assert code == 0
    said = json.loads(capsys.readouterr().out)
    folder = Path(said["folder"])
    calls = (tmp_path / "calls").read_text().splitlines()
    drawn = [call for call in calls if Path(call).stem == "generated"]
    print(f"{len(calls)} calls, {len(drawn)} of them for what was drawn")
    assert len(drawn) <= 10
    assert len(calls) <= 64
    made = inputs.read(folder / "input.gguf")
    assert (folder / "input.gguf").stat().st_size == said["bytes"] == 224
    assert [(t.type.name, t.shape) for t in made.tensors.values()] == [("Q4_K", (256,))]
    assert json.loads((folder / "expected.json").read_text())["fingerprint"]["cause"] == ["k-scales-bit-stream"]


def test_the_command_line_says_what_it_found_nothing_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["shrink", "--to", "apr", "--converter", "reference", "--output", str(tmp_path)]
    assert cli.main([*asked, "--from", "gguf", "--examples", "3"]) == 0
    assert capsys.readouterr().out == "no failure in 3 examples\n"
    assert list(tmp_path.iterdir()) == []
    assert cli.main(asked) == 2
    assert cli.main([*asked, "--from", "gguf", str(tmp_path)]) == 2
