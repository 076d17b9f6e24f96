"""`verify` on SmolLM2-135M, in seven quantisations and three formats, on two engines, and with damage.

`pytest -m real` runs all of it; the default run asks the Q4_1 file and its APR form one question.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Tensor
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr, gguf
from rosetta_ref.inference import NumpyEngine
from rosetta_ref.verify import verify
from rosetta_ref.verify.engines import LIMIT
from tests.support import llama, smollm

QUESTION = "What is 2+2?"


def forms(source: Path, folder: Path) -> Iterator[Path]:
    for target in ("m.apr", "hf", "back.gguf"):
        convert(source if target != "back.gguf" else folder / "hf", folder / target)
        yield folder / target


def test_the_file_and_its_apr_form_answer_the_question_as_llama_cpp_does(tmp_path: Path) -> None:
    source = smollm.variant("Q4_1")
    with llama.Model(source) as judge:
        expected = judge.chat(QUESTION)
    assert "4" in expected
    convert(source, tmp_path / "m.apr")
    for path in (source, tmp_path / "m.apr"):
        with NumpyEngine(path) as engine:
            (answer,) = engine.generate([engine.chat(QUESTION)], 32)
            assert engine.text(answer) == expected


@pytest.mark.real
@pytest.mark.parametrize("name", smollm.VARIANTS)
def test_every_form_of_every_file_is_the_same(name: str, tmp_path: Path) -> None:
    source = smollm.variant(name)
    for number, target in enumerate(forms(source, tmp_path)):
        if target.suffix == ".gguf":  # the same bytes: nothing to verify but that they are
            assert target.read_bytes() == source.read_bytes()
            continue
        report = verify(source, target, engines=("numpy", "llama.cpp") if not number else ("numpy",), lossless=True)
        assert report.same, report.failures
        counts, figures = report.counts, report.figures
        print(f"{name} and {target.name}: {dict(counts)}, {report.seconds:.0f} s; {report.answer['numpy']!r}")
        if number:
            continue
        assert counts["positions on two engines"] >= 500
        exact = "source: numpy, llama.cpp" + ("" if name == "F32" else " (decoded to F32)")
        assert figures[exact]["logit"] < LIMIT
        assert figures[exact]["top1"] == 1
        for pair, row in figures.items():
            print(
                f"  {pair}: largest difference {row['logit']:.3g}, mean KL {row['mean_kl']:.3g}, best {row['top1']:.4f}"
            )
    shutil.rmtree(tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("name", smollm.VARIANTS)
def test_the_answer_is_llama_cpps_from_each_format(name: str, tmp_path: Path) -> None:
    """32 tokens at most, greedy, through the chat template; llama.cpp on the file, this package on each form of it.

    llama.cpp rounds activations for every type but F32, and so may choose another word: then its answer on the numbers of the
    file, which it decodes itself, is the measure, and the other one is printed.
    """
    source = smollm.variant(name)
    llama.quantize(source, tmp_path / "f32.gguf", "F32")
    with llama.Model(source) as rounding, llama.Model(tmp_path / "f32.gguf") as judge:
        expected, rounded = judge.chat(QUESTION), rounding.chat(QUESTION)
    print(
        f"{name}, llama.cpp: {expected!r}" + ("" if rounded == expected else f"; with rounded activations {rounded!r}")
    )
    for path in (source, *(p for p in forms(source, tmp_path) if p.suffix != ".gguf")):
        with NumpyEngine(path) as engine:
            (answer,) = engine.generate([engine.chat(QUESTION)], 32)
            print(f"{name}, {path.name}: {engine.text(answer)!r}")
            assert engine.text(answer) == expected
    shutil.rmtree(tmp_path)


@pytest.mark.real
def test_one_damaged_block_of_the_real_model_is_named(tmp_path: Path) -> None:
    source = smollm.variant("Q8_0")
    convert(source, tmp_path / "right.apr")
    with apr.read(tmp_path / "right.apr") as archive:
        stored = archive.tensors["blk.17.attn_k.weight"]
        blocks = stored.type.blocks(stored.data).copy()
        blocks["d"][1234] *= 2
        tensors = archive.tensors | {stored.name: Tensor.of(stored.name, stored.type, stored.shape, blocks)}
        apr.write(replace(archive, tensors=tensors, parts=()), tmp_path / "m.apr")
    report = verify(source, tmp_path / "m.apr")
    assert report.blame is not None
    assert report.blame.first == "blk.17.attn_k"
    assert [suspect.role for suspect in report.blame.suspects] == ["blk.17.attn_k.weight"]
    print("\n".join([*map(str, report.failures), *report.blame.lines(), f"{report.seconds:.0f} s"]))


@pytest.mark.real
def test_a_damaged_approximation_is_named(tmp_path: Path) -> None:
    """In a lossy file every step differs; the damaged tensor explains the most."""
    source, target = smollm.variant("F32"), smollm.variant("Q8_0")
    with gguf.read(target) as archive:
        stored = archive.tensors["blk.9.ffn_down.weight"]
        blocks = stored.type.blocks(stored.data).copy()
        blocks["d"] = np.random.default_rng(1).permutation(blocks["d"])
        tensors = archive.tensors | {stored.name: Tensor.of(stored.name, stored.type, stored.shape, blocks)}
        gguf.write(replace(archive, tensors=tensors, parts=()), tmp_path / "m.gguf")
    assert verify(source, target, blame=False).same
    report = verify(source, tmp_path / "m.gguf")
    assert {failure.kind for failure in report.failures} == {"limit"}
    assert report.blame is not None
    assert report.blame.suspects[0].role == "blk.9.ffn_down.weight"
    print("\n".join([*map(str, report.failures), *report.blame.lines()]))
