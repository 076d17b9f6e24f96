"""Quantisers: what another right one may do, and what none may; types that are asked for, on whatever pair."""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.gate.converter import named
from rosetta_ref.gate.converter.entry import ACCEPTED, REFUSED, Converter, Entry, Run
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, SKIPPED, Result
from rosetta_ref.gate.inputs.default import default
from rosetta_ref.gate.inputs.write import write
from rosetta_ref.gate.judge import approximate, rounding
from rosetta_ref.gate.judge import values as right_values
from rosetta_ref.gate.run.checks import answers
from rosetta_ref.gate.run.engine import Engine, run, samples_for
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.gate.smoke.smoke import smoke
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce import run as reduction
from rosetta_ref.reduce.run import Asked
from rosetta_ref.reduce.search import gates
from rosetta_ref.reduce.search.candidate import Oracle
from rosetta_ref.reduce.search.failure import Wanted
from rosetta_ref.reduce.search.naming import chosen
from rosetta_ref.reduce.search.search import Budget

Change = Callable[[np.ndarray], np.ndarray]


def judged(source: np.ndarray, kind: str, blocks: bytes | np.ndarray) -> right_values.Verdict:
    """The verdict on a matrix that was asked for in a type."""
    raw = np.frombuffer(blocks, np.uint8) if isinstance(blocks, bytes) else blocks.reshape(-1)
    target = Tensor.of("a", TYPES[kind], source.shape, raw)
    return right_values.judge(Tensor.of("a", TYPES["F32"], source.shape, source), target, asked=True)


def matrix(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((8, 512)).astype(np.float32)


# Blocks


def test_a_smaller_squared_error_is_right_though_the_largest_is_larger() -> None:
    pytest.importorskip("gguf")
    from tests.quality.correct.q4_0_least_squares import blocks

    source = matrix()
    made = blocks(source.reshape(-1, 32))
    found = Tensor.of("a", TYPES["Q4_0"], source.shape, made.reshape(-1)).values()
    encode = TYPES["Q4_0"].encode
    assert encode is not None
    ours = Tensor.of("a", TYPES["Q4_0"], source.shape, np.asarray(encode(source)).reshape(-1).view(np.uint8)).values()
    theirs, mine = ((values - source).reshape(-1, 32) for values in (found, ours))
    assert (np.abs(theirs).max(axis=1) > approximate.MARGIN * np.abs(mine).max(axis=1)).any()
    assert (theirs**2).sum() < (mine**2).sum()
    assert judged(source, "Q4_0", made).done == "encoded"


def q8_0(source: np.ndarray, factor: float) -> np.ndarray:
    """Q8_0 by its definition (block_q8_0 of ggml-common.h), every scale multiplied by a factor."""
    rows = source.reshape(-1, 32)
    scale = (np.abs(rows).max(axis=1) / 127).astype(np.float16)
    codes = np.rint(rows / scale.astype(np.float32)[:, None]).clip(-127, 127).astype(np.int8)
    wrong = (scale.astype(np.float32) * np.float32(factor)).astype(np.float16)
    return np.hstack([wrong.view(np.uint8).reshape(-1, 2), codes.view(np.uint8)])


@pytest.mark.parametrize("factor", [0.99, 1.01, 1.02, 2.0, -1.0])
def test_scales_that_are_slightly_off_are_falsified(factor: float) -> None:
    assert judged(matrix(), "Q8_0", q8_0(matrix(), 1.0)).done == "encoded"
    verdict = judged(matrix(), "Q8_0", q8_0(matrix(), factor))
    assert verdict.kind == "error-too-large"
    assert "lose more than with the reference's Q8_0: block 0 is off by" in verdict.detail


def test_one_element_that_is_far_off_is_beyond_the_tolerance() -> None:
    """Its squared error is hidden among those of 255 others."""
    encode = TYPES["Q2_K"].encode
    assert encode is not None
    source = matrix()[:1, :256].copy()
    blocks = np.asarray(encode(source)).reshape(-1).view(np.uint8)
    made = Tensor.of("a", TYPES["Q2_K"], source.shape, blocks).values()
    at = (0, int(np.abs(made).argmax()))
    source[at] = -made[at] / 4  # as if the sign of one number had been lost
    error = (made - source).astype(np.float64)
    assert judged(source, "Q2_K", blocks).kind == "error-too-large"
    assert (error**2).mean() < 2 * (np.delete(error, at[1]) ** 2).mean()


@pytest.mark.parametrize(
    "kind", ["IQ3_S", *(pytest.param(one, marks=pytest.mark.slow) for one in ("IQ3_XXS", "IQ2_S"))]
)
def test_types_that_nothing_here_encodes_are_judged_by_what_they_decode_to(kind: str) -> None:
    pytest.importorskip("llama_cpp")
    from tests.support import ggml

    made = ggml.encode(TYPES[kind].id or 0, matrix())
    assert judged(matrix(), kind, made).done == "encoded"
    for other in (-matrix(), 3 * matrix(), 0 * matrix(), matrix(1)):
        assert judged(other, kind, made).kind == "error-too-large"
    assert judged(matrix(), kind, bytes(len(made))).kind == "error-too-large"


def test_a_type_that_nobody_knows_is_skipped_with_the_reason() -> None:
    entry = Entry("fours", function="none:none", pairs=("S-S",), quantises=("F4",), architectures=("llama",))
    results = run(Function(entry, lambda *_: None), only=["F-CONV-QUANT-001/*"])
    assert {(each.outcome, each.reason) for each in results} <= {
        (SKIPPED, "nothing here knows what a block of F4 means, so that nobody can judge it")
    }


# Answers


def test_the_table_is_of_the_samples_that_are_asked() -> None:
    spec = importlib.util.spec_from_file_location(
        "rounding_benchmark", Path(__file__).parents[1] / "benchmarks/rounding.py"
    )
    assert spec is not None
    assert spec.loader is not None
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    stored = rounding.table()
    assert stored["samples"] == {one.name: benchmark.digest(one) for one in benchmark.asked(0)}, (
        "samples have changed: python benchmarks/rounding.py --write"
    )
    assert stored["versions"].keys() == {"numpy", "llama-cpp-python", "gguf"}
    assert {"F16", "BF16", "Q8_0", "Q4_0"} <= set.intersection(*map(set, stored["answers"].values()))
    assert stored["blocks"].keys() >= {name for name, kind in TYPES.items() if kind.is_scalar is False and kind.decode and "Apr" not in name} - {"Q8_1", "Q8_K"}  # fmt: skip


def answered(source: Path, target: Path, sample: str = "qwen2-f32") -> Result:
    from rosetta_ref.gate.judge.cache import Judgements
    from rosetta_ref.gate.judge.question import Case, Question

    result = Result("F-CONV-BE-001/G-S/x", "F-CONV-BE-001", CORROBORATED)
    case = Case(result.case, result.gate, "answers", sample, ("gguf", "safetensors"))
    answers.CHECK.judge(result, Question(case, source, target), Judgements(Entry("")))
    return result


def rounded(folder: Path, change: Change) -> tuple[Path, Path]:
    """The directory of a sample, and the same with its matrices in F16 after a change: by struct and NumPy alone."""
    sample = next(one for one in default(0, architectures=["qwen2"]) if one.name == "qwen2-f32")
    source, target = (write(sample, "safetensors", folder / name) for name in ("source", "target"))
    file = target / "model.safetensors"
    data = file.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header, made = json.loads(data[8 : 8 + size]), b""
    for name, about in header.items():
        if name == "__metadata__":
            continue
        start, stop = (8 + size + place for place in about["data_offsets"])
        values = np.frombuffer(data[start:stop], "<f4")
        if len(about["shape"]) > 1:
            about["dtype"], values = "F16", change(values).astype("<f2")
        about["data_offsets"] = [len(made), len(made) + values.nbytes]
        made += values.tobytes()
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + made)
    return source, target


def test_exact_rounding_is_no_damage(tmp_path: Path) -> None:
    result = answered(*rounded(tmp_path, lambda values: values))
    assert (result.findings, result.compared) == ([], 109)


def test_what_loses_more_than_rounding_is(tmp_path: Path) -> None:
    result = answered(*rounded(tmp_path, lambda values: values * np.float32(1.01)))
    assert {finding.kind for finding in result.findings} == {"answers-limit"}
    assert "is what rounding to F16 alone loses" in result.findings[0].detail


def test_limits_hold_the_margin() -> None:
    measured = rounding.table()["answers"]["qwen2-f32"]["F16"]
    limits = rounding.answers("qwen2-f32", "F16")
    assert limits is not None
    assert limits["mean_kl"] == rounding.MARGIN * measured[0] > 8e-5
    assert limits["top1"] == pytest.approx(1 - rounding.MARGIN * (1 - measured[2]))
    assert rounding.answers("nobody's", "F16") is None
    assert rounding.answers("qwen2-f32", "AprQ4") == rounding.answers("qwen2-f32", "Q4_0")


# Types that are asked for


class Function:
    """A converter of this module."""

    def __init__(self, entry: Entry, function: Callable[..., Any]) -> None:
        self.entry, self._function = entry, function

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        try:
            self._function(src, dst, *(() if type is None else (type,)))
        except RosettaError as error:
            return Run(REFUSED, 1, stderr=str(error))
        return Run(ACCEPTED, 0)


def ids(entry: Entry) -> list[str]:
    with Workspace() as work:
        return [case.id for case in Engine.of(Function(entry, print), work, 0, samples_for(entry, 0)).cases]


BOTH = Entry(
    "both", function="none:none", pairs=("S-G", "G-G"), quantises=("Q8_0",), architectures=("qwen2",), whole_models=True
)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"F-CONV-QUANT-001/q8_0/qwen2-rough"}),
        ({"quantises_on": ("S-G",)}, {"F-CONV-QUANT-001/S-G/q8_0/qwen2-rough", "F-CONV-BE-001/S-G/q8_0/qwen2-f32"}),
        ({"pairs": ("S-G",)}, {"F-CONV-QUANT-001/S-G/q8_0/qwen2-rough", "F-CONV-BE-001/S-G/q8_0/qwen2-f32"}),
        ({"pairs": ("G-S",), "quantises": ("Q8_0", "F16")}, {"F-CONV-QUANT-001/G-S/f16/qwen2-rough", "F-CONV-BE-001/G-S/f16/qwen2-f32"}),
        ({"quantises": ()}, set()),
    ],
)  # fmt: skip
def test_a_type_is_asked_for_on_the_pairs_that_the_entry_names(changes: dict[str, Any], wanted: set[str]) -> None:
    asked = ("F-CONV-QUANT-001/*", "F-CONV-BE-001/*/q8_0/*", "F-CONV-BE-001/*/f16/*")
    found = {one for one in ids(replace(BOTH, **changes)) if any(fnmatch(one, pattern) for pattern in asked)}
    assert {one for one in found if "aligned" not in one} == wanted


def reference(src: Path, dst: Path, type: str | None = None) -> None:  # noqa: A002
    """Right."""
    from rosetta_ref.gate.adapters.reference import convert

    convert(src, dst, type=type)


def test_what_was_asked_for_is_not_lossy_unasked() -> None:
    def always(src: Path, dst: Path, type: str | None = None) -> None:  # noqa: A002
        reference(src, dst, "Q8_0")

    entry = replace(BOTH, pairs=("S-G",), quantises_on=("S-G",))
    results = run(
        Function(entry, always), only=["F-CONV-QUANT-001/S-G/*", "F-CONV-BE-001/S-G/q8_0/*", "F-CONV-004/qwen2-f32/*"]
    )
    asked = [each for each in results if each.gate != "F-CONV-004"]
    assert {each.outcome for each in asked} == {CORROBORATED}
    assert len(asked) == 2
    unasked = [each for each in results if each.gate == "F-CONV-004"]
    assert {finding.kind for each in unasked for finding in each.findings} == {"lossy-unasked"}


def test_an_entry_says_it_in_toml_and_in_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "rosetta.toml"
    file.write_text(
        '[converters.x]\ncommand = "python3 {src} {dst} --type={type}"\nquantises = ["Q8_0"]\nquantises-on = ["S-G"]\n'
    )
    assert named.read_entries(file)["x"].asked_on == ("S-G",)
    assert named.resolve("x", config=file, overrides={"quantises_on": ("G-S",)}).entry.asked_on == ("G-S",)


def test_smoke_takes_f32_of_f32_for_a_conversion() -> None:
    import shutil

    def copy(src: Path, dst: Path, type: str | None = None) -> None:  # noqa: A002
        shutil.copyfile(src, dst)

    entry = Entry(
        "copy", function="none:none", pairs=("G-G",), quantises=("F32",), architectures=("llama",), whole_models=True
    )
    found = smoke(Function(entry, copy))
    assert found.works
    assert [name for name, each in found.quantises.items() if each.works] == ["F32"]
    across = smoke(Function(replace(entry, pairs=("G-A",), quantises_on=("G-A",)), copy))
    assert not across.works


# The reducer


def off(src: Path, dst: Path, type: str | None = None) -> None:  # noqa: A002
    """Q8_0 whose scales are 2 % too large."""
    from rosetta_ref.convert import convert

    convert(src, dst, type=type)
    with gguf.read(dst) as archive:
        places = [(each.offset or 0, each.nbytes) for each in archive.tensors.values() if each.type.name == "Q8_0"]
    data = bytearray(dst.read_bytes())
    for start, size in places:
        blocks = np.frombuffer(data, np.uint8, size, start).reshape(-1, 34)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32) * np.float32(1.02)
        blocks[:, :2] = scales.astype(np.float16).view(np.uint8).reshape(-1, 2)
    dst.write_bytes(data)


def plain(src: Path, dst: Path, type: str | None = None) -> None:  # noqa: A002
    """Nothing is encoded, and a key is lost."""
    with gguf.read(src) as archive:
        kept = {key: value for key, value in archive.metadata.items() if key != "general.name"}
        gguf.write(replace(archive, metadata=kept), dst)


@pytest.mark.parametrize("function", [off, plain])
def test_gate_and_reducer_name_a_failure_alike(function: Callable[..., Any], tmp_path: Path) -> None:
    entry = Entry(
        "q", function="none:none", pairs=("G-G",), quantises=("Q8_0",), architectures=("llama",), whole_models=True
    )
    (result,) = run(Function(entry, function), only=["F-CONV-QUANT-001/q8_0/llama-rough"])
    source = write(next(one for one in samples_for(entry, 0) if one.name == "llama-rough"), "gguf", tmp_path)
    with Workspace() as work:
        seen = Oracle(Function(entry, function), "gguf", work, "Q8_0").look(source)
    assert result.outcome == FALSIFIED
    assert {(one.gate, one.kind, one.tensor) for one in seen.findings} == {
        (one.gate, one.kind, one.tensor) for one in result.findings
    }
    assert chosen(seen.findings, Wanted("F-CONV-QUANT-001")) is not None


def reduced(function: Callable[..., Any], source: Path, folder: Path, kind: str, **more: Any) -> reduction.Made:
    entry = Entry("r", function="none:none", pairs=("G-S",), architectures=("qwen2",), safetensors_as=kind)
    made: Converter = Function(entry, function)
    return reduction.run(made, Asked(source, "safetensors", budget=Budget(60, 60), output=folder, **more))


def curved(src: Path, dst: Path) -> None:
    """Numbers just below 1 come out 0.19 too large, all others hardly at all."""
    reference(src, dst)
    file = dst / "model.safetensors" if dst.is_dir() else dst
    data = bytearray(file.read_bytes())
    start = 8 + struct.unpack_from("<Q", data)[0]
    values = np.frombuffer(data, "<f4", offset=start)
    values += np.where((values > 0.9) & (values < 1), np.float32(0.19), np.float32(0.0002))
    file.write_bytes(data)


def test_a_smaller_input_shows_an_error_as_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(-1, 1, 12 * 64, dtype=np.float32).reshape(12, 64)
    source = tmp_path / "model.gguf"
    gguf.write(Archive("gguf", {}, {"a.weight": Tensor.of("a.weight", TYPES["F32"], values.shape, values)}), source)

    def error(folder: str) -> float:
        made = reduced(curved, source, tmp_path / folder, "file")
        return max(finding.error for finding in made.found.seen.findings)

    assert error("kept") > 0.09
    monkeypatch.setattr(reduction, "_SHARE", 0.0)
    assert error("lost") < 0.01


def forgetful(src: Path, dst: Path) -> None:
    """rope_theta is another one."""
    reference(src, dst)
    file = dst / "config.json"
    if not file.exists():
        return
    config = json.loads(file.read_text())
    (config.get("rope_parameters") or config)["rope_theta"] = 10.0
    file.write_text(json.dumps(config))


def test_the_reducer_asks_what_the_gate_asks(tmp_path: Path) -> None:
    sample = next(one for one in default(0, architectures=["qwen2"]) if one.name == "qwen2-f32")
    entry = Entry("r", function="none:none", pairs=("G-S",), architectures=("qwen2",))
    source = write(sample, "gguf", tmp_path)
    asked = ("F-CONV-BE-001", Function(entry, forgetful), source, "safetensors", None)
    found, calls = gates.findings_of(*asked)
    assert ({one.gate for one in found}, calls) == ({"F-CONV-BE-001"}, 1)
    assert "answers-numbers" in {one.kind for one in found}
    assert gates.findings_of("F-CONV-DET-001", Function(entry, forgetful), source, "safetensors", None) == ([], 2)


@pytest.mark.slow
def test_the_reducer_follows_the_answers_of_a_model(tmp_path: Path) -> None:
    sample = next(one for one in default(0, architectures=["qwen2"]) if one.name == "qwen2-f32")
    made = reduced(
        forgetful, write(sample, "gguf", tmp_path), tmp_path / "out", "directory", wanted=Wanted("F-CONV-BE-001")
    )
    assert (made.found.fingerprint.gate, made.found.fingerprint.kind) == ("F-CONV-BE-001", "answers-numbers")
    assert made.after < 5000
