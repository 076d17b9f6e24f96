"""What ggml's own quantiser loses, which the gate judges others by: `python benchmarks/rounding.py [--seeds 10] [--write]`.

For each model that F-CONV-BE-001 asks questions, and each type: its matrices are encoded by NumPy's `astype` (F16) or by
`ggml_quantize_chunk` (all others), decoded by ggml, and both models, in F32 now, are asked what the gate asks. Nothing of
`rosetta_ref.quant` encodes or decodes here: gguf-py decodes the samples that have blocks. The worst of all seeds counts.

For each type, too: how far the worst block of some kinds of numbers is off, in its mean square and in its largest error.

`--write` puts the table where the gate looks: `rosetta_ref/gate/judge/rounding.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from rosetta_ref.gate.inputs import default, models, write
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import approximate, rounding
from rosetta_ref.gate.run.checks import answers
from rosetta_ref.verify import verify
from tests.support import ggml

Array = NDArray[np.float32]
#: What ggml does not quantise without an importance matrix gets one in which all columns weigh alike.
WEIGHTED = ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M")
TYPES = (
    *("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
    *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"),
    *("TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0"),
)
#: ggml's numbers of types that gguf-py may not know yet (ggml.h).
NUMBERS = {"Q1_0": 41, "Q2_0": 42}


def number_of(kind: str) -> int:
    """The number that ggml has for a type."""
    return NUMBERS.get(kind) or int(gguf.GGMLQuantizationType[kind])


def through(kind: str, values: Array) -> Array:
    """A matrix as it comes back from a type; as it is where its rows are no whole blocks."""
    if kind == "F16":
        return values.astype(np.float16).astype(np.float32)
    number = number_of(kind)
    if values.shape[-1] % ggml.sizes(number)[1]:
        return values
    rows = np.ascontiguousarray(values.reshape(-1, values.shape[-1]), np.float32)
    weights = np.ones(rows.shape[1], np.float32) if kind in WEIGHTED else None
    return ggml.decode(number, ggml.encode(number, rows, weights), rows.size).reshape(values.shape)


# Answers


def rewritten(source: Path, target: Path, kind: str | None) -> bool:
    """A model in F32 whose matrices have been through a type; whether any of them could be."""
    reader, changed = gguf.GGUFReader(source), False
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.alignment"):
            item = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], item)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        values = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(shape)
        if kind is not None and len(shape) > 1:
            made = through(kind, values)
            changed, values = changed or made is not values, made
        writer.add_tensor(tensor.name, np.ascontiguousarray(values))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return changed


def asked(seed: int) -> Iterator[Sample]:
    """The models that F-CONV-BE-001 asks questions, whatever architectures a converter claims."""
    seen = set()
    for claimed in (None, *([name] for name in models.families())):
        for sample in default.default(seed, architectures=claimed):
            if answers.is_asked(sample) and sample.name not in seen and "gguf" in sample.formats:
                seen.add(sample.name)
                yield sample


def losses_of(sample: Sample, folder: Path) -> Iterator[tuple[str, list[float]]]:
    """By type: the figures of a sample."""
    face = write.write(sample, "gguf", folder / "face")
    rewritten(face, folder / "plain.gguf", None)
    for kind in TYPES:
        target = folder / "lossy.gguf"
        if rewritten(folder / "plain.gguf", target, kind):
            report = verify(folder / "plain.gguf", target, blame=False, lossless=False, **answers.ASKED)
            yield kind, [abs(report.figures["numpy"][name]) for name in rounding.FIGURES]
        target.unlink()


def digest(sample: Sample) -> str:
    """Of the numbers of a sample, to see that it is still the one that was measured."""
    found = hashlib.sha256()
    for name, tensor in sample.model.tensors.items():
        found.update(name.encode() + bytes(tensor.data))
    return found.hexdigest()[:16]


def worst(one: list[float] | None, other: list[float]) -> list[float]:
    """The worse of each figure: the least share of best tokens, the most of everything else."""
    if one is None:
        return other
    return [min(a, b) if name == "top1" else max(a, b) for name, a, b in zip(rounding.FIGURES, one, other, strict=True)]


def measure_answers(seeds: range) -> dict[str, dict[str, list[float]]]:
    """By sample and type."""
    table: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        for sample in asked(seed):
            row = table.setdefault(sample.name, {})
            with tempfile.TemporaryDirectory() as folder:
                for kind, figures in losses_of(sample, Path(folder)):
                    row[kind] = worst(row.get(kind), figures)
        print(f"seed {seed}", flush=True)
    return table


# Blocks


def numbers(random: np.random.Generator) -> Iterator[Array]:
    """Rows of 256 of several kinds: normal, uniform, of one sign, with outliers, heavy tails, few levels."""
    rows = (64, 256)
    normal = random.standard_normal(rows)
    outliers = np.where(random.random(rows) < 1 / 128, 16, 1) * normal
    yield from (
        made.astype(np.float32)
        for made in (
            normal, random.uniform(-1, 1, rows), np.abs(normal), outliers, random.standard_t(2, rows), random.laplace(size=rows),
            random.choice([-1.0, 1.0], rows), 1 + normal / 64, np.linspace(-1, 1, 64 * 256).reshape(rows),
            normal * np.exp(random.standard_normal(rows)),
        )
    )  # fmt: skip


def measure_blocks() -> dict[str, list[float]]:
    """By type, of the worst block: the root of the mean square of errors over that of its numbers, the largest over the largest."""
    table = {}
    for kind in TYPES:
        width = max(ggml.sizes(number_of(kind))[1], 32)
        found = [0.0, 0.0]
        for values in numbers(np.random.default_rng(0)):
            blocks = values.reshape(-1, width).astype(np.float64)
            error = np.abs(through(kind, values).reshape(-1, width) - blocks)
            held = np.abs(blocks).max(axis=1) >= approximate.TINY
            blocks, error = blocks[held], error[held]
            found[0] = max(found[0], float(np.sqrt((error**2).mean(axis=1) / (blocks**2).mean(axis=1)).max()))
            found[1] = max(found[1], float((error.max(axis=1) / np.abs(blocks).max(axis=1)).max()))
        table[kind] = found
    return table


def most_of(found: rounding.Answers) -> float:
    """How many times what is stored those figures come to at most: what the margin of the gate has to hold."""
    stored = rounding.table()["answers"]

    def times(name: str, here: float, there: float) -> float:
        here, there = (1 - here, 1 - there) if name == "top1" else (here, there)
        return here / max(there, rounding.LEAST.get(name, 0.0))

    return max(
        times(name, here, there)
        for sample, row in found.items()
        for kind, figures in row.items()
        for name, here, there in zip(rounding.FIGURES, figures, stored[sample][kind], strict=True)
    )


def versions() -> dict[str, str]:
    """Of what measured."""
    return {name: importlib.metadata.version(name) for name in ("numpy", "llama-cpp-python", "gguf")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, default=10, help="how many seeds the answers are measured with (default 10)"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--write", action="store_true", help=f"write {rounding.FILE.name}")
    options = parser.parse_args()
    blocks, found = measure_blocks(), measure_answers(range(options.first, options.first + options.seeds))
    for sample, row in found.items():
        print(sample)
        for kind, figures in row.items():
            print(f"  {kind:8}" + "".join(f"{figure:12.3g}" for figure in figures))
    for kind, figures in blocks.items():
        print(f"{kind:8}" + "".join(f"{figure:12.3g}" for figure in figures))
    if options.first:
        print(f"at most {most_of(found):.2f} times what is stored")
    if options.write:
        samples = {sample.name: digest(sample) for sample in asked(0)}
        rounding.FILE.write_text(rounding.text(versions(), options.seeds, samples, found, blocks))


if __name__ == "__main__":
    main()
