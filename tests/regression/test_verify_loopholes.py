"""Damage that `verify` once called the same, or died of: each was a way around it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Kind, Tensor, Value
from rosetta_ref.cli import main
from rosetta_ref.convert import convert
from rosetta_ref.formats import gguf
from rosetta_ref.inference import NumpyEngine
from rosetta_ref.inference.llamacpp import LlamaCpp
from rosetta_ref.inference.model import MissingWeightError
from rosetta_ref.inference.parameters import NoForwardPassError
from rosetta_ref.quant import TYPES
from rosetta_ref.verify import verify
from tests.support import llama, tiny
from tests.support.damage import edit_json, edit_weights

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
SOURCE = GOLDEN / "llama-smollm-tied" / "auto.gguf"


def rewritten(target: Path, edit: Any, source: Path = SOURCE) -> Path:
    with gguf.read(source) as archive:
        metadata, tensors = dict(archive.metadata), dict(archive.tensors)
        edit(metadata, tensors)
        gguf.write(replace(archive, metadata=metadata, tensors=tensors, parts=()), target)
    return target


def kinds(source: Path, target: Path, **options: Any) -> set[str]:
    return {failure.kind for failure in verify(source, target, blame=False, **options).failures}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    convert(SOURCE, tmp_path / "hf", dtype="f32", keep_blocks=False)
    return tmp_path / "hf"


@pytest.mark.parametrize("wrong", ["zeros", "NaN", "noise"])
def test_another_engine_that_computes_nonsense_on_the_file(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own rounding excuses a little, not anything."""
    tiny.build(tmp_path / "m.gguf", "llama", SOURCE, seed=2)
    source = tmp_path / "q8_0.gguf"
    llama.quantize(tmp_path / "m.gguf", source, "Q8_0")
    convert(source, tmp_path / "m.apr")
    assert kinds(source, tmp_path / "m.apr", engines=("numpy", "llama.cpp")) == set()
    right, random = LlamaCpp._logits, np.random.default_rng(0)

    def nonsense(self: LlamaCpp, tokens: Any) -> np.ndarray:
        logits = right(self, tokens)
        if self.path != source:
            return logits
        made = {"zeros": logits * 0, "NaN": logits * np.nan, "noise": random.standard_normal(logits.shape) * 50}
        return made[wrong].astype(np.float32)

    monkeypatch.setattr(LlamaCpp, "_logits", nonsense)
    assert "engines" in kinds(source, tmp_path / "m.apr", engines=("numpy", "llama.cpp"))


def test_a_directory_that_is_a_copy(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "llama-smollm-tied" / "hf", tmp_path / "copy")
    assert main(["verify", str(GOLDEN / "llama-smollm-tied" / "hf"), str(tmp_path / "copy")]) == 2


def test_a_conversion_to_the_types_that_are_there_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bytes are right here; that something was converted is for `verify` to ask, not for `convert --verify`."""
    source = tiny.build(tmp_path / "m.gguf", "llama", SOURCE, seed=2)
    convert(source, tmp_path / "q8_0.gguf", type="q8_0")
    arguments = [str(tmp_path / "q8_0.gguf"), str(tmp_path / "again.gguf")]
    assert main(["convert", *arguments, "--type", "q8_0", "--verify"]) == 0
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "q8_0.gguf").read_bytes()
    assert "the target is the source, byte for byte" in capsys.readouterr().out
    assert main(["verify", *arguments]) == 2


@pytest.mark.parametrize("rows", [312, 3])
def test_rows_of_the_vocabulary_and_something_else_are_lost(rows: int, directory: Path) -> None:
    def edit(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:rows].copy()
        tensors["model.norm.weight"] *= 2

    edit_weights(directory, edit)
    edit_json(directory / "config.json", lambda config: config.update(vocab_size=rows))
    report = verify(SOURCE, directory)
    assert {"vocabulary", "logits"} <= {failure.kind for failure in report.failures}
    assert report.blame is not None


def test_an_approximation_excuses_only_what_was_rounded(tmp_path: Path) -> None:
    source = tiny.build(tmp_path / "m.gguf", "qwen2", SOURCE, bias=True, seed=5)

    def rounded(metadata: dict, tensors: dict) -> None:
        stored = tensors["blk.0.attn_k.weight"]
        blocks = TYPES["Q4_0"].encode(stored.values())
        tensors[stored.name] = Tensor.of(stored.name, TYPES["Q4_0"], stored.shape, blocks)

    def and_damaged(metadata: dict, tensors: dict) -> None:
        rounded(metadata, tensors)
        stored = tensors["blk.1.ffn_down.weight"]
        values = stored.values() * np.float32(1.5)
        tensors[stored.name] = Tensor.of(stored.name, stored.type, stored.shape, stored.type.encode(values))

    def and_dropped(metadata: dict, tensors: dict) -> None:
        rounded(metadata, tensors)
        del tensors["blk.1.attn_q.bias"]

    right = rewritten(tmp_path / "right.gguf", rounded, source)
    report = verify(source, right, blame=False)
    assert report.claim == "lossy (Q4_0)"
    assert report.same, report.failures
    for edit in (and_damaged, and_dropped):
        assert "weights" in kinds(source, rewritten(tmp_path / "wrong.gguf", edit, source))


def test_a_head_that_the_configuration_asks_for_and_nobody_has(directory: Path) -> None:
    edit_json(directory / "config.json", lambda config: config.update(tie_word_embeddings=False))
    with pytest.raises(MissingWeightError):
        NumpyEngine(directory)
    assert kinds(SOURCE, directory) == {"load"}


def test_a_tied_head_is_the_embedding_whatever_is_stored_beside_it(directory: Path) -> None:
    edit_weights(directory, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] * np.float32(2)}))
    assert kinds(SOURCE, directory) == set(), "transformers and mlx-lm do not read it either"


def test_rope_that_turns_a_part_of_a_head(tmp_path: Path) -> None:
    key = "llama.rope.dimension_count"

    def edit(metadata: dict, tensors: dict) -> None:
        metadata[key] = Value.scalar(Kind.U32, 4)

    with pytest.raises(NoForwardPassError, match="dimension_count is 4"):
        NumpyEngine(rewritten(tmp_path / "m.gguf", edit))


def test_an_answer_that_no_longer_ends(tmp_path: Path) -> None:
    def edit(metadata: dict, tensors: dict) -> None:
        metadata["tokenizer.ggml.eos_token_id"] = Value.scalar(Kind.U32, 7)

    assert "stops" in kinds(SOURCE, rewritten(tmp_path / "m.gguf", edit))


@pytest.mark.parametrize("count", [0, -3])
def test_an_answer_of_no_tokens_is_no_question(count: int, directory: Path) -> None:
    assert main(["verify", str(SOURCE), str(directory), "-n", str(count)]) == 2
    assert main(["verify", str(SOURCE), str(directory), "-n", "1"]) == 0


def test_words_for_a_model_without_words(tmp_path: Path) -> None:
    def edit(metadata: dict, tensors: dict) -> None:
        for key in [key for key in metadata if key.startswith("tokenizer.")]:
            del metadata[key]

    source = rewritten(tmp_path / "m.gguf", edit)
    convert(source, tmp_path / "m.apr")
    assert main(["verify", str(source), str(tmp_path / "m.apr"), "--prompt", "x"]) == 2
    assert main(["verify", str(source), str(tmp_path / "m.apr"), "--lossless", "--limit", "foo=1"]) == 2
    assert main(["verify", str(source), str(tmp_path / "m.apr")]) == 0


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "config.json"])
def test_a_broken_companion_is_a_failure_with_a_report(
    name: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = GOLDEN / "llama-yarn" / "auto.gguf"
    shutil.rmtree(directory)
    convert(source, directory, keep_blocks=False)
    text = (directory / name).read_text()
    (directory / name).write_text(text[: len(text) // 2] + "{{ ")
    assert main(["verify", str(source), str(directory), "--json"]) == 1
    assert "load" in {failure["kind"] for failure in json.loads(capsys.readouterr().out)["failures"]}


def test_a_text_that_is_not_utf8(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\xff\xfe")
    assert main(["verify", str(SOURCE), str(directory), "--text", str(tmp_path / "text")]) == 2


@pytest.mark.parametrize("damage", ["missing", "not a model", "broken tokenizer"])
def test_a_source_that_does_not_load_is_no_verdict_on_the_target(
    damage: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(GOLDEN / "llama-smollm-tied" / "hf", source)
    if damage == "missing":
        shutil.rmtree(source)
    elif damage == "not a model":
        (source / "model.safetensors").write_bytes(b"nothing of that kind")
    else:
        (source / "tokenizer.json").write_text("{")
    assert main(["verify", str(source), str(directory)]) == 2
    assert str(source) in capsys.readouterr().err.replace("\n", "")


def llama3_pair(folder: Path, change: Any = None) -> tuple[Path, Path]:
    """A GGUF file with factors, and the directory it came from, which has parameters."""
    golden = GOLDEN / "llama3-rope-bias"
    shutil.copytree(golden / "hf", folder / "hf")
    if change is not None:
        edit_json(folder / "hf" / "config.json", change)
    return golden / "auto.gguf", folder / "hf"


def test_factors_and_parameters_that_come_to_the_same_angles(tmp_path: Path) -> None:
    assert kinds(*llama3_pair(tmp_path)) == set()


@pytest.mark.parametrize(("key", "value"), [("factor", 1.01), ("original_max_position_embeddings", 0.25)])
def test_factors_and_parameters_that_do_not(key: str, value: float, tmp_path: Path) -> None:
    """Too little for the prompts to show it, perhaps; enough for an angle."""

    def change(config: dict[str, Any]) -> None:
        where = config.get("rope_parameters") or config["rope_scaling"]
        where[key] = type(where[key])(where[key] * value)

    assert "numbers" in kinds(*llama3_pair(tmp_path, change))


def test_a_vocabulary_padded_with_unused_tokens_is_a_declared_transform(directory: Path) -> None:
    name = "model.embed_tokens.weight"

    def pad(tensors: dict[str, np.ndarray]) -> None:
        rows = tensors[name]
        tensors[name] = np.concatenate([rows, np.full((8, rows.shape[1]), 0.01, rows.dtype)])

    edit_weights(directory, pad)
    edit_json(directory / "config.json", lambda config: config.update(vocab_size=config["vocab_size"] + 8))
    report = verify(SOURCE, directory, blame=False)
    assert report.same, report.failures
    assert "8 unused tokens pad the vocabulary" in report.notes


def test_tokens_with_words_are_no_padding(tmp_path: Path) -> None:
    def add(metadata: dict, tensors: dict) -> None:
        words = metadata["tokenizer.ggml.tokens"]
        metadata["tokenizer.ggml.tokens"] = Value.array(Kind.STRING, [*words.data, "madeup"])
        for key in ("scores", "token_type"):
            if (stated := metadata.get(f"tokenizer.ggml.{key}")) is not None:
                metadata[f"tokenizer.ggml.{key}"] = Value.array(stated.item, [*stated.data, stated.data[-1]])
        rows = tensors["token_embd.weight"]
        values = rows.values()
        wider = np.concatenate([values, values[:1]]).astype(np.float32)
        tensors["token_embd.weight"] = Tensor.of(rows.name, TYPES["F32"], wider.shape, wider)

    assert "vocabulary" in kinds(SOURCE, rewritten(tmp_path / "m.gguf", add))


def test_rope_that_no_forward_pass_here_computes(tmp_path: Path, directory: Path) -> None:
    def edit(metadata: dict, tensors: dict) -> None:
        metadata["llama.rope.scaling.attn_factor"] = Value.scalar(Kind.F32, 0.5)

    with pytest.raises(NoForwardPassError, match=r"attn_factor is 0\.5"):
        NumpyEngine(rewritten(tmp_path / "m.gguf", edit))
    edit_json(directory / "config.json", lambda config: config.update(partial_rotary_factor=0.5))
    with pytest.raises(NoForwardPassError, match=r"partial_rotary_factor is 0\.5"):
        NumpyEngine(directory)


def test_one_model_is_in_memory_at_a_time(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where everything is computed in float64: that of the converted model begins when the source is gone."""
    alive: list[set[Path]] = []
    engines: list[NumpyEngine] = []
    opened, computed = NumpyEngine.__init__, NumpyEngine.logits

    def remember(self: NumpyEngine, path: Path, **options: Any) -> None:
        opened(self, path, **options)
        engines.append(self)

    def watched(self: NumpyEngine, sequences: Any, **options: Any) -> Any:
        for logits in computed(self, sequences, **options):
            alive.append({one.path for one in engines if any(w._kept for w in one.model.weights.values())})
            yield logits

    monkeypatch.setattr(NumpyEngine, "__init__", remember)
    monkeypatch.setattr(NumpyEngine, "logits", watched)
    assert verify(SOURCE, directory).same
    assert len(alive) > 8
    assert set(map(frozenset, alive)) == {frozenset({SOURCE}), frozenset({directory})}
