"""Damage that `verify` once called the same, or died of: each was a way around it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
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
from rosetta_ref.inference.architecture import FACTORS, NoForwardPassError
from rosetta_ref.inference.forward import Batch, Cache, Pass
from rosetta_ref.inference.llamacpp import LlamaCpp, LlamaError
from rosetta_ref.inference.model import MissingWeightError
from rosetta_ref.quant import TYPES
from rosetta_ref.verify import answers, verify
from rosetta_ref.verify.gate import evidence_of
from tests.support import llama, tiny
from tests.support.damage import edit_json, edit_weights

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
SOURCE = GOLDEN / "llama-smollm-tied" / "auto.gguf"
EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"
#: Limits that excuse everything.
WIDE = {"mean_kl": 1e9, "kl_p99": 1e9, "logit": 1e9, "perplexity": 1e9, "top1": 0}


def rewritten(target: Path, edit: Any, source: Path = SOURCE) -> Path:
    with gguf.read(source) as archive:
        metadata, tensors = dict(archive.metadata), dict(archive.tensors)
        edit(metadata, tensors)
        gguf.write(replace(archive, metadata=metadata, tensors=tensors, parts=()), target)
    return target


def kinds(source: Path, target: Path, **options: Any) -> set[str]:
    return {
        failure.kind
        for failure in verify(
            source,
            target,
            **{"blame": False, "count": 4, "prompts": ["Name three rivers, 12 x 12 and naïve “quotes”."], **options},
        ).failures
    }


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    convert(SOURCE, tmp_path / "hf", dtype="f32", keep_blocks=False)
    return tmp_path / "hf"


def test_another_engine_that_computes_nonsense_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own rounding excuses a little, not anything."""
    tiny.build(tmp_path / "m.gguf", "llama", SOURCE, seed=2)
    source = tmp_path / "q8_0.gguf"
    llama.quantize(tmp_path / "m.gguf", source, "Q8_0")
    convert(source, tmp_path / "m.apr")
    assert kinds(source, tmp_path / "m.apr", engines=("numpy", "llama.cpp")) == set()
    right, random = LlamaCpp._logits, np.random.default_rng(0)

    nonsense: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "zeros": lambda logits: logits * 0,
        "NaN": lambda logits: logits * np.nan,
        "noise": lambda logits: random.standard_normal(logits.shape) * 50,
    }
    for wrong, make in nonsense.items():

        def computed(self: LlamaCpp, tokens: Any, make: Callable[[np.ndarray], np.ndarray] = make) -> np.ndarray:
            logits = right(self, tokens)
            return make(logits).astype(np.float32) if self.path == source else logits

        monkeypatch.setattr(LlamaCpp, "_logits", computed)
        assert "engines" in kinds(source, tmp_path / "m.apr", engines=("numpy", "llama.cpp")), wrong


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


def test_a_tied_head_is_the_embedding_unless_another_one_is_stored(directory: Path) -> None:
    edit_weights(directory, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy()}))
    assert kinds(SOURCE, directory) == set()
    edit_weights(directory, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] * np.float32(2)}))
    assert kinds(SOURCE, directory) == {"logits"}, (
        "transformers 5.24 does not tie what differs (modeling_utils.tie_weights)"
    )


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


@pytest.mark.parametrize("broken", [b"{{ ", b"\xff"], ids=["syntax", "bytes"])
@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "config.json"])
def test_a_broken_companion_is_a_failure_with_a_report(
    name: str, broken: bytes, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = GOLDEN / "llama-yarn" / "auto.gguf"
    shutil.rmtree(directory)
    convert(source, directory, keep_blocks=False)
    text = (directory / name).read_text()
    (directory / name).write_bytes(text[: len(text) // 2].encode() + broken)
    assert main(["verify", str(source), str(directory), "--json"]) == 1
    assert "load" in {failure["kind"] for failure in json.loads(capsys.readouterr().out)["failures"]}


def test_a_text_that_is_not_utf8(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\xff\xfe")
    assert main(["verify", str(SOURCE), str(directory), "--text", str(tmp_path / "text")]) == 2


BROKEN = {
    "tokenizer.json": "{",
    "tokenizer_config.json": "{",
    "generation_config.json": "{",
    "chat_template.jinja": "{% if",
}


@pytest.mark.parametrize("damage", ["missing", "not a model", "a type without a decoder", *BROKEN])
def test_a_source_that_does_not_load_is_no_verdict_on_the_target(
    damage: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(directory, source)
    if damage == "missing":
        shutil.rmtree(source)
    elif damage == "not a model":
        (source / "model.safetensors").write_bytes(b"nothing of that kind")
    elif damage == "a type without a decoder":
        edit_weights(source, lambda tensors: tensors.update({NORM: np.zeros(tensors[NORM].shape, np.uint8)}))
        weights = (source / "model.safetensors").read_bytes()
        size = int.from_bytes(weights[:8], "little")
        header = weights[8 : 8 + size].replace(b'"U8"', b'"F8_E4M3"')
        (source / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights[8 + size :])
    else:
        (source / damage).write_text(BROKEN[damage])
    assert main(["verify", str(source), str(SOURCE)]) == 2
    assert str(source) in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("broken", ["loading", "decoding"])
def test_an_engine_that_does_not_take_the_source_is_no_verdict_on_the_target(
    broken: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LlamaCpp, *arguments: Any, **options: Any) -> None:
        self._model = self._context = None
        raise LlamaError("no")

    monkeypatch.setattr(LlamaCpp, "__init__" if broken == "loading" else "_logits", refuse)
    assert main(["verify", str(SOURCE), str(directory), "--engine", "both"]) == 2


def test_evidence_of_a_pair_of_which_nothing_was_compared(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp loads the converted file, and then cannot compute with it."""

    def refuse(self: LlamaCpp, tokens: Any) -> np.ndarray:
        raise LlamaError("decoding failed")

    monkeypatch.setattr(LlamaCpp, "_logits", refuse)
    report = verify(directory, SOURCE, engines=("numpy", "llama.cpp"), blame=False)
    assert {failure.kind for failure in report.failures} == {"load"}
    assert {case["outcome"] for case in evidence_of(report)} == {"Falsified"}


def test_what_cannot_be_read_or_written_is_no_verdict(directory: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "file"
    assert main(["verify", str(SOURCE), str(directory), "--text", str(nowhere)]) == 2
    assert main(["verify", str(SOURCE), str(directory), "--evidence", str(nowhere)]) == 2
    assert main(["verify", str(SOURCE), str(nowhere)]) == 1


@pytest.mark.parametrize("length", [1, 3, 8])
def test_factors_of_another_number_than_there_are_pairs(length: int, tmp_path: Path) -> None:
    source, directory = llama3_pair(tmp_path)

    def edit(metadata: dict, tensors: dict) -> None:
        factors = np.ones(length, np.float32)
        tensors[FACTORS] = Tensor.of(FACTORS, TYPES["F32"], factors.shape, factors)

    assert kinds(directory, rewritten(tmp_path / "m.gguf", edit, source)) == {"load"}


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


def test_yarn_that_became_factors(tmp_path: Path) -> None:
    """It multiplies cosine and sine, which factors cannot; the widest limits do not excuse it."""

    def change(config: dict[str, Any]) -> None:
        where = config.get("rope_parameters") or config["rope_scaling"]
        where |= {"rope_type": "yarn", "factor": 1.5, "original_max_position_embeddings": 1 << 20}

    source, directory = llama3_pair(tmp_path, change)

    def edit(metadata: dict, tensors: dict) -> None:
        (here, _), (there, _) = (model.frequencies() for model in (yarn.model, plain.model))
        factors = (there * tensors[FACTORS].values() / here).astype(np.float32)
        tensors[FACTORS] = Tensor.of(FACTORS, TYPES["F32"], factors.shape, factors)

    with NumpyEngine(directory) as yarn, NumpyEngine(source) as plain:
        target = rewritten(tmp_path / "m.gguf", edit, source)
    found = [failure.detail for failure in verify(directory, target, blame=False, limits=WIDE).failures]
    assert found == ["what rope's cosine and sine are multiplied with: 1.04055 became 1"]


def padded(directory: Path, rows: Any) -> None:
    def pad(tensors: dict[str, np.ndarray]) -> None:
        stored = tensors[EMBEDDING]
        tensors[EMBEDDING] = np.concatenate([stored, np.empty((8, stored.shape[1]), stored.dtype)])
        tensors[EMBEDDING][-8:] = rows

    edit_weights(directory, pad)
    edit_json(directory / "config.json", lambda config: config.update(vocab_size=config["vocab_size"] + 8))


def test_padding_does_not_hide_what_became_of_the_other_rows(directory: Path) -> None:
    """A row that no prompt reads, in an approximation, whose limits would excuse it."""
    padded(directory, 0.01)
    assert kinds(SOURCE, directory, limits=WIDE) == set()
    edit_weights(directory, lambda tensors: tensors[EMBEDDING][7].__imul__(-1))
    assert kinds(SOURCE, directory, limits=WIDE) == {"weights"}


def test_a_token_of_the_padding_that_is_the_best_one(directory: Path) -> None:
    """At a position in a text, which asks for no answer."""
    padded(directory, np.linspace(-0.5, 0.5, 64))
    with NumpyEngine(SOURCE) as source:
        prompt = source.chat("What is 2+2?")
        hidden = Pass(source.model).forward(Batch.of([prompt[:4]], [Cache.of(source.model)]))[-1]
        bigger = 1.2 * next(source.logits([prompt[:4]]))[-1].max() / np.square(hidden).sum()
    edit_weights(directory, lambda tensors: tensors[EMBEDDING][-1].__setitem__(slice(None), bigger * hidden))
    found = verify(SOURCE, directory, blame=False, limits=WIDE, prompts=["x"], count=1).failures
    assert "top1" in {failure.kind for failure in found}


def test_a_vocabulary_padded_with_unused_tokens_is_a_declared_transform(directory: Path) -> None:
    padded(directory, 0.01)
    report = verify(SOURCE, directory, blame=False)
    assert report.same, report.failures
    assert "8 unused tokens pad the vocabulary" in report.notes


def test_padding_that_is_left_out_is_a_declared_transform(directory: Path) -> None:
    """As llama.cpp's converter does for Gemma 3."""
    padded(directory, 0.01)
    report = verify(directory, SOURCE, blame=False)
    assert report.same, report.failures
    assert "8 unused tokens are left out of the vocabulary" in report.notes


def test_rows_with_words_that_are_left_out_are_a_failure(tmp_path: Path) -> None:
    def cut(metadata: dict, tensors: dict) -> None:
        rows = tensors["token_embd.weight"]
        values = rows.values()[:-1]
        tensors["token_embd.weight"] = Tensor.of(rows.name, TYPES["F32"], values.shape, values)

    assert "vocabulary" in kinds(SOURCE, rewritten(tmp_path / "m.gguf", cut))


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
    for partial in ({"partial_rotary_factor": 0.5}, {"rope_parameters": {"partial_rotary_factor": 0.5}}):
        shutil.copytree(directory, tmp_path / next(iter(partial)))
        edit_json(tmp_path / next(iter(partial)) / "config.json", lambda config, more=partial: config.update(more))
        with pytest.raises(NoForwardPassError, match=r"partial_rotary_factor is 0\.5"):
            NumpyEngine(tmp_path / next(iter(partial)))


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


def test_a_long_text_is_compared_in_portions(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in the file has a limit; what is found does not depend on it."""
    edit_weights(directory, lambda tensors: tensors[NORM].__imul__(1.01))
    whole = verify(SOURCE, directory, blame=False)
    asked: list[int] = []
    computed = NumpyEngine.logits

    def counted(self: NumpyEngine, sequences: Any, **options: Any) -> Any:
        asked.append(sum(map(len, sequences)))
        return computed(self, sequences, **options)

    monkeypatch.setattr(answers, "SPOOL", 300 * 320 * 8)
    monkeypatch.setattr(NumpyEngine, "logits", counted)
    parts = verify(SOURCE, directory, blame=False)
    assert len(asked) > 8
    assert (parts.counts, parts.compared, parts.failures) == (whole.counts, whole.compared, whole.failures)
    assert parts.figures["numpy"] == pytest.approx(whole.figures["numpy"])
