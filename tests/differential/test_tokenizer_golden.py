"""tokenizer_metadata against what convert_hf_to_gguf wrote, and the round trip through both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rosetta_ref.architectures import tokenizer
from rosetta_ref.architectures.tokenizer import bpe, sentencepiece_proto
from rosetta_ref.archive import Kind, Value
from rosetta_ref.formats import gguf

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
MODELS = sorted(path.parent.name for path in GOLDEN.glob("*/auto.gguf"))


def hf_files(name: str) -> dict[str, bytes]:
    folder = GOLDEN / name / "hf"
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".jinja", ".model")}


def golden_keys(name: str) -> dict[str, Value]:
    with gguf.read(GOLDEN / name / "auto.gguf") as archive:
        return {key: value for key, value in archive.metadata.items() if key.startswith("tokenizer.")}


def assert_same_keys(got: dict[str, Value], expected: dict[str, Value]) -> None:
    assert list(got) == list(expected)
    assert expected
    for key, value in expected.items():
        assert got[key] == value, key


def test_there_are_five_models() -> None:
    assert len(MODELS) == 5


@pytest.mark.parametrize("name", MODELS)
def test_keys_equal_those_of_convert_hf(name: str) -> None:
    expected = golden_keys(name)
    size = len(expected["tokenizer.ggml.tokens"].data)
    assert_same_keys(tokenizer.tokenizer_metadata(hf_files(name), size), expected)


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name: str) -> None:
    expected = golden_keys(name)
    files = tokenizer.tokenizer_files(expected)
    config = json.loads(hf_files(name)["config.json"])
    files["config.json"] = json.dumps(config).encode()
    back = tokenizer.tokenizer_metadata(files, len(expected["tokenizer.ggml.tokens"].data))
    scores = "tokenizer.ggml.scores"
    for key in expected:
        if key != scores:
            assert back[key] == expected[key], key
    if scores in expected:
        order = [
            sorted(range(len(v.data)), key=lambda i, v=v: (-v.data[i], i)) for v in (back[scores], expected[scores])
        ]
        normal = {i for i, kind in enumerate(expected["tokenizer.ggml.token_type"].data) if kind == 1}
        assert [i for i in order[0] if i in normal] == [i for i in order[1] if i in normal]
        assert len(normal) > 100


def test_a_vocabulary_is_padded_to_the_model() -> None:
    name = "llama-smollm-tied"
    got = tokenizer.tokenizer_metadata(hf_files(name), 330)
    assert got["tokenizer.ggml.tokens"].data[320:] == [f"[PAD{i}]" for i in range(320, 330)]
    assert list(got["tokenizer.ggml.token_type"].data[320:]) == [5] * 10
    again = tokenizer.tokenizer_metadata(tokenizer.tokenizer_files(got), 330)
    assert again["tokenizer.ggml.tokens"] == got["tokenizer.ggml.tokens"]
    assert again["tokenizer.ggml.token_type"] == got["tokenizer.ggml.token_type"]


def test_a_model_without_a_vocabulary_has_no_files() -> None:
    keys = {"tokenizer.ggml.model": Value.scalar(Kind.STRING, "no_vocab")}
    assert tokenizer.tokenizer_files(keys) == {}
    assert tokenizer.tokenizer_metadata({}, 64) == keys


def changed(name: str, key: str, value: Value) -> dict[str, Value]:
    return {**golden_keys(name), f"tokenizer.ggml.{key}": value}


def test_refusals_say_what_to_do() -> None:
    name = "llama-smollm-tied"
    with pytest.raises(tokenizer.UnknownPreTokenizerError, match=r"'klingon'.*table"):
        tokenizer.tokenizer_files(changed(name, "pre", Value.scalar(Kind.STRING, "klingon")))
    with pytest.raises(tokenizer.UnknownTokenizerModelError, match="t5"):
        tokenizer.tokenizer_files(changed(name, "model", Value.scalar(Kind.STRING, "t5")))
    with pytest.raises(tokenizer.BrokenVocabularyError, match="twice"):
        tokenizer.tokenizer_files(changed(name, "tokens", Value.array(Kind.STRING, ["a"] * 320)))
    with pytest.raises(bpe.BrokenMergeError, match="'q q'"):
        tokenizer.tokenizer_files(changed(name, "merges", Value.array(Kind.STRING, ["q q"])))
    with pytest.raises(tokenizer.BrokenVocabularyError, match="has the id 399"):
        tokenizer.tokenizer_metadata(hf_files("llama-spm"), 399)


@pytest.mark.parametrize(
    ("part", "value", "error"),
    [
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "x"}}, tokenizer.UnknownPreTokenizerError),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True}, tokenizer.UnknownPreTokenizerError),
        ("normalizer", {"type": "Lowercase"}, bpe.UnknownNormalizerError),
        ("model", {"type": "WordPiece"}, tokenizer.UnknownTokenizerModelError),
        ("model", {"type": "BPE"}, tokenizer.BrokenTokenizerFileError),
    ],
)
def test_a_tokenizer_json_of_another_kind(part: str, value: object, error: type[Exception]) -> None:
    files = hf_files("llama-smollm-tied")
    content = json.loads(files["tokenizer.json"]) | {part: value}
    with pytest.raises(error):
        tokenizer.tokenizer_metadata({**files, "tokenizer.json": json.dumps(content).encode()}, 320)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_broken_tokenizer_json(content: bytes) -> None:
    with pytest.raises(tokenizer.BrokenTokenizerFileError):
        tokenizer.tokenizer_metadata({"tokenizer.json": content}, 8)


def test_a_tokenizer_model_cut_anywhere_is_refused_or_shorter() -> None:
    data = hf_files("llama-spm")["tokenizer.model"]
    whole = sentencepiece_proto.parse(data)
    assert len(whole.pieces) == 400
    for stop in range(0, len(data), 97):
        try:
            part = sentencepiece_proto.parse(data[:stop])
        except tokenizer.BrokenTokenizerFileError:
            continue
        assert len(part.pieces) <= 400
