"""What must never count as a match: nothing compared, a copy, an engine that gives zeros or does not listen, empty answers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from rosetta_ref.archive import Tensor
from rosetta_ref.cli import main
from rosetta_ref.convert import convert
from rosetta_ref.formats import gguf
from rosetta_ref.gate.report.files import schema
from rosetta_ref.gate.report.score import cases_of, score
from rosetta_ref.inference import NumpyEngine, load
from rosetta_ref.inference.architecture import NoForwardPassError
from rosetta_ref.inference.engine import BadTokenError, EngineFormatError
from rosetta_ref.inference.engines import UnknownEngineError
from rosetta_ref.inference.model import ForeignWeightError, MissingWeightError, WeightShapeError
from rosetta_ref.inference.parameters import ConflictingParameterError
from rosetta_ref.verify import VerificationError, verifier, verify
from rosetta_ref.verify.answers import BrokenSourceError, NothingComparedError, compare_answers, compare_logits
from rosetta_ref.verify.claims import Claim
from rosetta_ref.verify.limits import UnknownLimitError, beyond, limits_for
from rosetta_ref.verify.measures import Measured
from rosetta_ref.verify.report import Report
from tests.support import tiny
from tests.support.damage import edit_weights

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
SOURCE = GOLDEN / "llama-smollm-tied" / "auto.gguf"
LOSSLESS = Claim(None, same_types=True, same_order=True)


def rewritten(target: Path, edit: Any, source: Path = SOURCE) -> Path:
    """A GGUF file with other tensors or metadata: `edit` changes copies of both."""
    with gguf.read(source) as archive:
        metadata, tensors = dict(archive.metadata), dict(archive.tensors)
        edit(metadata, tensors)
        gguf.write(replace(archive, metadata=metadata, tensors=tensors, parts=()), target)
    return target


def filled(name: str, value: float) -> Any:
    def edit(metadata: dict, tensors: dict) -> None:
        stored = tensors[name]
        data = np.full(stored.count, value, np.float32)
        tensors[name] = Tensor.of(name, stored.type, stored.shape, stored.type.encode(data))

    return edit


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_copy_of_the_source_is_no_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(SOURCE, tmp_path / "copy.apr")
    for target in (tmp_path / "copy.apr", SOURCE):
        assert run("verify", SOURCE, target) == 2
        assert "is a copy of the source" in capsys.readouterr().err


def test_an_empty_text_is_no_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("")
    convert(SOURCE, tmp_path / "m.apr")
    assert run("verify", SOURCE, tmp_path / "m.apr", "--text", tmp_path / "empty.txt") == 2
    assert "the text is empty" in capsys.readouterr().err


def test_a_source_that_gives_zeros_is_no_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zero = rewritten(tmp_path / "zero.gguf", filled("output_norm.weight", 0))
    convert(zero, tmp_path / "zero.apr")
    assert run("verify", zero, tmp_path / "zero.apr") == 2
    assert "every token has the same logit" in capsys.readouterr().err
    nan = rewritten(tmp_path / "nan.gguf", filled("output_norm.weight", float("nan")))
    with pytest.raises(BrokenSourceError, match="NaN or infinite"):
        verify(nan, zero)


def test_a_target_that_gives_zeros(tmp_path: Path) -> None:
    zero = rewritten(tmp_path / "zero.gguf", filled("output_norm.weight", 0))
    found = verify(SOURCE, zero)
    assert {"flat", "logits", "deaf"} <= {failure.kind for failure in found.failures}
    assert found.blame is not None
    assert found.blame.suspects[0].role == "output_norm.weight"


def test_a_target_that_does_not_read_its_prompt(tmp_path: Path) -> None:
    """All tokens have the same embedding."""

    def edit(metadata: dict, tensors: dict) -> None:
        stored = tensors["token_embd.weight"]
        tensors["output.weight"] = replace(stored, name="output.weight")
        rows = np.broadcast_to(np.linspace(-1, 1, stored.shape[1], dtype=np.float32), stored.shape)
        tensors[stored.name] = Tensor.of(stored.name, stored.type, stored.shape, stored.type.encode(rows))

    found = verify(SOURCE, rewritten(tmp_path / "deaf.gguf", edit))
    assert "deaf" in {failure.kind for failure in found.failures}


class Fake:
    """An engine whose logits and answers are given."""

    name, path, vocabulary, has_text, has_template = "fake", Path("fake"), 8, False, False

    def __init__(self, logits: Sequence[np.ndarray] = (), answers: Sequence[list[int]] = ()) -> None:
        self.given, self.answers = logits, answers

    def logits(self, sequences: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
        return iter(self.given)

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
        return list(self.answers)

    def rest(self) -> None:
        pass


def test_nothing_compared_is_an_error() -> None:
    with pytest.raises(NothingComparedError):
        compare_logits(Report(Path("a"), Path("b")), Fake(), Fake(), [], LOSSLESS, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("answers", [([[]], [[]]), ([[1]], [[]])], ids=["both", "the converted one"])
def test_an_answer_of_nothing_is_a_failure(answers: tuple[list[list[int]], list[list[int]]]) -> None:
    report = Report(Path("a"), Path("b"))
    engines = [Fake(answers=rows) for rows in answers]
    compare_answers(report, *engines, [("p", [1])], answers[0], 4, exact=True)  # type: ignore[arg-type]
    assert "silent" in {failure.kind for failure in report.failures}
    assert not report.same


def test_a_best_token_that_flips_is_a_failure_unless_the_tolerance_may_have_turned_it() -> None:
    a, b = np.float32([[0, 1.0, 1.0005]]), np.float32([[0, 1.0005, 1.0]])
    for tolerance, close in ((1e-3, 1), (1e-5, 0)):
        measured = Measured(tolerance)
        measured.add(0, [1], a, b)
        assert (measured.positions, measured.agreeing, measured.too_close) == (1, 0, close)


def test_a_difference_that_is_no_number_is_the_largest() -> None:
    measured, right = Measured(1.0), np.zeros((80, 4))
    wrong = right.copy()
    wrong[3, 1], wrong[70, 1] = np.nan, 0.5
    with np.errstate(invalid="ignore"):
        measured.add(0, [0] * 80, right, wrong)
    assert np.isnan(measured.largest)
    assert measured.worst == (0, 3)


def test_long_sequences_are_measured_in_parts_that_add_up() -> None:
    """Eighty positions by the definition, all at once."""
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 80, 7))
    tokens = random.integers(0, 7, 80)
    b[3] = a[3]
    b[71, 2] += 9
    measured = Measured()
    measured.add(5, list(tokens), a, b)
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (a, b))
    kl = (p * np.log(p / q)).sum(axis=1)
    loss = -np.log(q[np.arange(79), tokens[1:]]).mean() + np.log(p[np.arange(79), tokens[1:]]).mean()
    assert measured.figures["mean_kl"] == pytest.approx(kl.mean())
    assert measured.figures["kl_p99"] == pytest.approx(np.percentile(kl, 99))
    assert measured.figures["perplexity"] == pytest.approx(np.exp(loss) - 1)
    assert measured.figures["top1"] == np.mean(a.argmax(axis=1) == b.argmax(axis=1))
    assert measured.worst == (5, 71)
    assert (measured.positions, measured.predicted, measured.logits, measured.unequal) == (80, 79, 560, 79 * 7)


def test_the_measures_are_those_of_the_definition() -> None:
    """Two tokens, worked out by hand: p = (3/4, 1/4), q = (1/2, 1/2)."""
    p, q = np.log(np.float64([[3, 1]] * 2)), np.zeros((2, 2))
    measured = Measured()
    measured.add(0, [0, 1], p, q)
    kl = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert measured.figures["mean_kl"] == pytest.approx(kl)
    assert measured.figures["kl_p99"] == pytest.approx(kl)
    assert measured.figures["top1"] == 1.0
    assert measured.figures["logit"] == pytest.approx(np.log(3))
    # The text's second token, 1, has probability 1/4 in the source and 1/2 in the other.
    assert measured.perplexities == pytest.approx((4, 2))
    assert measured.figures["perplexity"] == pytest.approx(-0.5)


def test_limits() -> None:
    limits = limits_for("Q8_0", {"top1": 0.9, "mean_kl": 0.5})
    assert limits["top1"] == 0.9
    assert beyond({"mean_kl": 0.6, "kl_p99": 0, "top1": 0.8, "logit": 0, "perplexity": -9.0}, limits) == [
        "mean_kl", "top1", "perplexity",
    ]  # fmt: skip
    assert beyond(dict.fromkeys(limits, float("nan")), limits) == list(limits)
    for name, value in (("kl", 1.0), ("mean_kl", float("nan"))):
        with pytest.raises(UnknownLimitError):
            limits_for("Q8_0", {name: value})


# --- convert --verify


def test_a_conversion_that_is_not_the_same_leaves_nothing(tmp_path: Path) -> None:
    """The converter checks what it wrote against its plan; a plan that is wrong, only the answers show."""
    from rosetta_ref.architectures import heads

    original = heads.row_order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "row_order", lambda rows, count, *, inverse=False: original(rows, 8, inverse=inverse))
        convert(SOURCE, tmp_path / "unverified")
        with pytest.raises(VerificationError, match=r"blk\.[01]\.attn_k\.weight"):
            convert(SOURCE, tmp_path / "hf", verify=verifier(lossless=True))
        assert run("convert", SOURCE, tmp_path / "hf", "--verify") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["unverified"]
    assert run("convert", SOURCE, tmp_path / "hf", "--verify") == 0


@pytest.mark.parametrize("target", ["m.apr", "hf", "one/model.safetensors"])
def test_convert_verify_says_what_it_compared(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / target).parent.mkdir(exist_ok=True)
    assert run("convert", SOURCE, tmp_path / target, "--verify") == 0
    said = capsys.readouterr().out
    assert "note: verified, lossless: 7 prompts" in said
    assert "224 tokens of 7 answers" in said


# --- engines


def test_an_engine_reads_its_own_formats(tmp_path: Path) -> None:
    with pytest.raises(EngineFormatError, match=r"llama\.cpp reads GGUF"):
        load(GOLDEN / "llama-spm" / "hf", "llama.cpp")
    with pytest.raises(EngineFormatError, match="mlx-lm reads Hugging Face"):
        load(SOURCE, "mlx-lm")
    with pytest.raises(UnknownEngineError):
        load(SOURCE, "onnx")
    convert(SOURCE, tmp_path / "m.apr")
    assert run("verify", GOLDEN / "llama-smollm-tied" / "hf", tmp_path / "m.apr", "--engine", "llama.cpp") == 2


@pytest.mark.parametrize("tokens", [[], [[]], [[320]], [[-1]]], ids=repr)
def test_tokens_are_checked(tokens: list[list[int]]) -> None:
    with NumpyEngine(SOURCE) as engine, pytest.raises(BadTokenError):
        list(engine.logits(tokens))


def _drop(name: str) -> Any:
    return lambda metadata, tensors: tensors.pop(name)


def _add(name: str) -> Any:
    return lambda metadata, tensors: tensors.update({name: replace(tensors["output_norm.weight"], name=name)})


def _key(name: str, value: Any) -> Any:
    def edit(metadata: dict, tensors: dict) -> None:
        metadata[name] = metadata[name].scalar(metadata[name].kind, value)

    return edit


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (_drop("blk.1.ffn_up.weight"), MissingWeightError),
        (_add("blk.0.attn_gate.weight"), ForeignWeightError),
        (_add("output.weight"), WeightShapeError),
        (_key("general.architecture", "mamba"), NoForwardPassError),
    ],
    ids=["missing", "foreign", "shape", "architecture"],
)
def test_a_model_that_cannot_be_computed_says_why(edit: Any, error: type[Exception], tmp_path: Path) -> None:
    path = rewritten(tmp_path / "m.gguf", edit)
    with pytest.raises(error) as caught:
        NumpyEngine(path)
    assert caught.value.file == path  # type: ignore[attr-defined]


def test_an_apr_file_that_says_two_things_is_refused(tmp_path: Path) -> None:
    from rosetta_ref.formats import apr

    convert(SOURCE, tmp_path / "m.apr")
    with apr.read(tmp_path / "m.apr") as archive:
        apr.write(replace(archive, metadata=archive.metadata | {"rope_theta": 5.0}, parts=()), tmp_path / "two.apr")
    with pytest.raises(ConflictingParameterError, match=r"theta: APR's own keys say 5\.0"):
        NumpyEngine(tmp_path / "two.apr")


def test_a_model_without_words_is_asked_in_numbers(tmp_path: Path) -> None:
    def edit(metadata: dict, tensors: dict) -> None:
        for key in [key for key in metadata if key.startswith("tokenizer.")]:
            del metadata[key]

    source = rewritten(tmp_path / "m.gguf", edit)
    convert(source, tmp_path / "m.apr")
    report = verify(source, tmp_path / "m.apr")
    assert report.same, report.failures
    assert report.counts["prompts"] == 4
    assert report.counts["positions"] == 8 + 24 + 48 + 96


def test_a_lossy_conversion_is_measured(tmp_path: Path) -> None:
    source = tiny.build(tmp_path / "m.gguf", "llama", SOURCE, tied=False, seed=1)
    convert(source, tmp_path / "q8.gguf", type="q8_0")
    report = verify(source, tmp_path / "q8.gguf")
    assert report.claim == "lossy (Q8_0)"
    assert report.same, report.failures
    assert 0 < report.figures["numpy"]["mean_kl"] < 0.01
    assert not verify(source, tmp_path / "q8.gguf", lossless=True, blame=False).same
    tight = verify(source, tmp_path / "q8.gguf", limits={"mean_kl": 1e-9}, blame=False)
    assert [failure.kind for failure in tight.failures] == ["limit"]
    convert(source, tmp_path / "hf", dtype="f32", keep_blocks=False)
    edit_weights(tmp_path / "hf", lambda t: t["model.norm.weight"].__imul__(3))
    assert not verify(source, tmp_path / "hf", lossless=False, limits={"top1": 0.0}, blame=False).same


# --- the golden models, and evidence


@pytest.mark.parametrize("name", sorted(path.parent.name for path in GOLDEN.glob("*/logits.npy")))
def test_a_directory_and_what_is_made_of_it_are_the_same(name: str, tmp_path: Path) -> None:
    """Directories that transformers wrote: tokenizers of their own, sharded, tied, each kind of rope scaling."""
    for target in ("m.gguf", "m.apr"):
        convert(GOLDEN / name / "hf", tmp_path / target)
        report = verify(GOLDEN / name / "hf", tmp_path / target, count=4)
        assert report.same, report.failures
        assert report.claim == "lossless"
        assert report.counts["logits"] > 100_000


@pytest.mark.parametrize("damaged", [False, True], ids=["right", "damaged"])
def test_evidence_has_the_fields_of_the_gates(damaged: bool, tmp_path: Path) -> None:
    target = tmp_path / "hf"
    convert(SOURCE, target, dtype="f32", keep_blocks=False)
    if damaged:
        edit_weights(target, lambda t: t["model.norm.weight"].__imul__(2))
    code = run("verify", SOURCE, target, "--engine", "both", "--evidence", tmp_path / "evidence.json", "--quiet")
    assert code == int(damaged)
    cases = json.loads((tmp_path / "evidence.json").read_text(), parse_constant=pytest.fail)
    outcomes = [case["outcome"] for case in cases]
    assert outcomes == ["Falsified" if damaged else "Corroborated", "Corroborated", "Corroborated"]
    for case in cases:
        assert re.fullmatch("[0-9a-f]{32}", case["id"])
        assert case["gate_id"] == "F-CONV-BE-001"
        assert case["scenario"]["prompt"] == "What is 2+2?"
        assert case["metadata"]["compared"]["compared"] == case["metadata"]["compared"]["expected"] > 100
        assert case["metadata"]["figures"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", case["timestamp"])
    jsonschema.validate(cases, schema("evidence"))
    assert [bool(case["metadata"]["kinds"]) for case in cases] == [damaged, False, False]
    # A norm that is wrong makes wrong answers, which is the gateway of basic inference.
    failed = [name for name, why in score(cases_of(cases)).gateways.items() if why]
    assert failed == (["G2"] if damaged else [])
    backends = [case["scenario"]["backend"] for case in cases]
    assert backends == ["numpy", "numpy, llama.cpp", "numpy, llama.cpp (decoded to F32)"]
    if damaged:
        assert cases[0]["metadata"]["blame"]["suspects"][0]["role"] == "output_norm.weight"
