"""The same file on two engines: this package's forward pass and llama.cpp (F-CONV-BE-001).

llama.cpp rounds activations for every type of weights but F32 (to 8 bits for quantised ones, to F16 or BF16 for those), so its
answers on such a file are not those of the numbers in it. Therefore the judge is a control: the same file with every tensor decoded
to F32. On it both engines must agree to `limit_of`; what llama.cpp's own rounding does is measured between its answers on the file
and on the control, and its answers on the file may be that far from this package's, and that limit more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats import gguf
from rosetta_ref.inference.engine import Engine, NumpyEngine
from rosetta_ref.inference.engines import load
from rosetta_ref.recode import decoded
from rosetta_ref.verify.answers import NothingComparedError, fault_of
from rosetta_ref.verify.measures import Measured
from rosetta_ref.verify.report import Report

#: The largest difference of a logit between two engines that compute in float32.
LIMIT = 1e-3
#: llama.cpp takes some activations from a table of float16: Gemma 3 270M is off by 0.066 at most, of logits up to 127.
TABLES = {"gelu_tanh": 0.1}
#: What rounding activations may do: SmolLM2-135M has at most 0.012 nats and 94 % (docs/verify.md).
ROUNDING_KL, ROUNDING_TOP1 = 0.05, 0.85


def limit_of(mine: NumpyEngine, engine: str) -> float:
    """How far a logit of another engine may be from this package's, on a file of F32."""
    return TABLES.get(mine.model.record.activation, LIMIT) if engine == "llama.cpp" else LIMIT


def compare_engines(
    report: Report, side: str, mine: NumpyEngine, engine: str, sequences: Sequence[Sequence[int]]
) -> None:
    """Note where another engine's answers on the file of `mine` are not its own; `side` is that of the conversion."""
    path, limit = mine.path, limit_of(mine, engine)
    as_it_is = engine != "llama.cpp" or _is_f32(path)
    whole = f"{side}: numpy, {engine}"
    pair = whole if as_it_is else f"{whole} (decoded to F32)"
    report.expected.update(dict.fromkeys((whole, pair), sum(map(len, sequences))))
    with load(path, engine) as theirs, tempfile.TemporaryDirectory(prefix="rosetta-verify-") as folder:
        if as_it_is:
            _judge(report, pair, _measured(report, sequences, limit, mine, theirs)[-1])
            return
        with load(write_control(path, Path(folder) / "control.gguf"), engine) as control:
            agreed, rounding, found = _measured(report, sequences, limit, mine, control, theirs)
        _judge(report, pair, agreed)
        report.compared[whole] += found.positions
        report.figures[f"{side}: {engine}'s own rounding"] = rounding.figures
        report.figures[whole] = found.figures
        far = rounding.figures["mean_kl"] > ROUNDING_KL or rounding.figures["top1"] < ROUNDING_TOP1
        if far or not found.largest <= rounding.largest + limit:
            kl, best = rounding.figures["mean_kl"], rounding.figures["top1"]
            detail = f"the file and its numbers in F32 are {kl:.3g} nats apart, with {100 * best:.1f} % of best tokens the same"
            report.fail("engines", whole, detail)


def _measured(report: Report, sequences: Sequence[Sequence[int]], limit: float, *engines: Engine) -> list[Measured]:
    """Each engine against the next one, and the first against the last."""
    made = [Measured(limit) for _ in engines]
    streams = [engine.logits(sequences) for engine in engines]
    for number, (tokens, *logits) in enumerate(zip(sequences, *streams, strict=True)):
        for engine, rows in zip(engines[1:], logits[1:], strict=True):
            if (fault := fault_of(rows)) is not None:
                report.fail("engines", engine.name, f"{engine.path.name}, prompt {number + 1}: {fault}")
        for measured, one, other in zip(made, [*logits[:-1], logits[0]], [*logits[1:], logits[-1]], strict=True):
            measured.add(number, tokens, one, other)
    if not all(measured.logits for measured in made):
        raise NothingComparedError("no logit was compared", file=engines[0].path)
    return made


def _judge(report: Report, pair: str, measured: Measured) -> None:
    """Positions whose two best logits lie closer than the two engines are counted apart, not dropped."""
    report.figures[pair] = measured.figures
    report.compared[pair] += measured.positions
    report.counts["positions on two engines"] += measured.positions
    report.counts["positions too close to call"] += measured.too_close
    if not measured.largest <= measured.tolerance:
        report.fail(
            "engines", pair, f"logits differ by up to {measured.largest:.3g}, the limit is {measured.tolerance:g}"
        )
    wrong = measured.positions - measured.agreeing - measured.too_close
    if wrong:
        report.fail("engines", pair, f"the best token differs at {wrong} of {measured.positions} positions")


def _is_f32(path: Path) -> bool:
    with gguf.read(path) as archive:
        return all(tensor.type.name == "F32" for tensor in archive.tensors.values())


def write_control(path: Path, control: Path) -> Path:
    """The same model with every tensor decoded to F32."""
    with gguf.read(path) as archive:
        tensors = {name: decoded(tensor) for name, tensor in archive.tensors.items()}
        metadata = archive.metadata | {"general.file_type": Value.scalar(Kind.U32, 0)}
        gguf.write(replace(archive, metadata=metadata, tensors=tensors, parts=()), control)
    return control
