"""What a model remembers inflates within limits, and work grows with the file: no small file takes much memory or time."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref import RosettaError, limits
from rosetta_ref.architectures.aprender_json import GgufMetadataError, from_entries
from rosetta_ref.architectures.tokenizer import spm, vocabulary
from rosetta_ref.archive import Kind, Value
from rosetta_ref.convert import structure
from rosetta_ref.convert.inflate import DeflatedError, Inflater
from rosetta_ref.limits import LimitExceededError
from tests.support.hostile import GOLDEN, directory, memory, remembering, safetensors_header

MIB = 1 << 20


def measured(work: Callable[[], Any]) -> tuple[float, int]:
    """Seconds of the processor, and bytes of memory that Python and NumPy asked for."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    began = time.process_time()
    work()
    return time.process_time() - began, peak


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


@pytest.mark.parametrize("size", [70 * MIB, 160 * MIB])
def test_a_small_file_does_not_become_a_large_one(size: int, tmp_path: Path) -> None:
    keys = memory({"generation_config.json": b"{}"})
    keys["rosetta.file.generation_config.json"] = bomb(size)
    source = remembering(tmp_path / "m.gguf", keys)
    assert source.stat().st_size < MIB

    def work() -> None:
        with pytest.raises(LimitExceededError, match=r"rosetta\.file\.generation_config\.json"):
            rosetta_ref.convert(source, tmp_path / "hf")

    seconds, peak = measured(work)
    assert peak < 140 * MIB
    assert seconds < 3
    assert not (tmp_path / "hf").exists()


def test_many_files_share_the_limit(tmp_path: Path) -> None:
    names = [f"additional_chat_templates/{i}.jinja" for i in range(40)]
    keys = memory(dict.fromkeys(names, b""))
    keys |= {f"rosetta.file.{name}": zlib.compress(bytes(MIB // 2), 9) for name in names}
    with pytest.raises(LimitExceededError, match="inflated-ratio"):
        rosetta_ref.convert(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")
    with limits.raised({"inflated-ratio": 2000}):
        rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
    with limits.raised({"inflated-ratio": 2000, "inflated-bytes": 10 * MIB}), pytest.raises(LimitExceededError):
        rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "other")


def test_what_real_files_inflate_to_is_taken() -> None:
    data = (b'{"id": 12345, "content": "<|reserved_special_token_1|>", "special": true}\n' * 20_000)[: MIB - 1]
    assert Inflater().inflated(zlib.compress(data, 9), "it") == data
    noise = os.urandom(3 * MIB)
    assert Inflater().inflated(zlib.compress(noise), "it") == noise


WHOLE = zlib.compress(b'{"a": 1}' * 100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:-1],
        WHOLE[:-5],
        WHOLE[:2],
        WHOLE + b"\0",
        WHOLE + WHOLE,
        WHOLE[:-1] + b"\xff",
        b"not zlib",
        b"\0" * 10,
        WHOLE[4:],
    ],
)
def test_a_stream_is_whole_and_nothing_else(data: bytes, tmp_path: Path) -> None:
    keys = memory({"generation_config.json": b"{}"})
    keys["rosetta.file.generation_config.json"] = data
    with pytest.raises(DeflatedError, match=r"rosetta\.file\.generation_config\.json") as caught:
        rosetta_ref.convert(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")
    assert caught.value.file == tmp_path / "m.gguf"


@pytest.mark.parametrize("value", ["text", ["texts"], 7])
def test_a_remembered_file_is_bytes(value: Any, tmp_path: Path) -> None:
    keys = memory({"generation_config.json": b"{}"})
    keys["rosetta.file.generation_config.json"] = value
    with pytest.raises(RosettaError, match=r"rosetta\.file\.generation_config\.json"):
        rosetta_ref.convert(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


# --- work grows with the file


def growth(work: Callable[[int], Any], size: int) -> float:
    """How much longer twice as much takes; the best of three."""

    def best(n: int) -> float:
        times = []
        for _ in range(3):
            began = time.process_time()
            work(n)
            times.append(time.process_time() - began)
        return min(times)

    return best(2 * size) / max(best(size), 1e-4)


def vocabulary_of(tokens: list[str]) -> None:
    spm.merges({token: i for i, token in enumerate(tokens)}, [0.0] * len(tokens))


@pytest.mark.parametrize(
    ("work", "size"),
    [
        (lambda n: vocabulary_of(["a" * n, "b", "c"]), 200_000),
        (lambda n: vocabulary_of([f"{i:05}" for i in range(n)]), 10_000),
        (lambda n: a_token_twice(n), 10_000),
        (lambda n: a_refused_shape(n), 40_000),
    ],
    ids=["a long token", "many tokens", "a token twice", "a long name and many numbers"],
)
def test_twice_as_much_takes_twice_as_long(work: Callable[[int], Any], size: int) -> None:
    assert growth(work, size) < 3.2


def a_token_twice(count: int) -> None:
    tokens = [f"t{i}" for i in range(count)]
    metadata = {"tokenizer.ggml.tokens": Value.array(Kind.STRING, [*tokens, tokens[-1]])}
    with pytest.raises(vocabulary.BrokenVocabularyError, match="twice"):
        vocabulary.Vocabulary.of(metadata)


def a_refused_shape(count: int) -> None:
    with pytest.raises(ValueError, match="is no int"):
        structure.require({"n" * count: {"shape": [*range(count), "x"]}}, {...: {"shape": [int]}})


def test_merges_are_no_thousand_times_the_vocabulary() -> None:
    tokens = ["a" * (i + 1) for i in range(1300)]

    def work() -> None:
        with pytest.raises(LimitExceededError, match="merges-ratio"):
            vocabulary_of(tokens)

    seconds, peak = measured(work)
    assert seconds < 1
    assert peak < 100 * MIB


def test_a_value_of_an_apr_file_stands_for_one_key() -> None:
    standing = {"tokenizer.vocabulary": ["x" * 1000]}
    entries = [{"key": f"k{i}", "type": "array:string", "apr": "tokenizer.vocabulary"} for i in range(1000)]
    with pytest.raises(GgufMetadataError):
        from_entries(entries, standing, {"tokenizer.ggml.tokens": "tokenizer.vocabulary"})


def test_twenty_thousand_rotary_buffers_are_no_matter(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf")
    path = source / "model.safetensors"
    header = safetensors_header(path)
    start = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    data = path.read_bytes()[start:]
    for i in range(20_000):
        place = len(data) + 4 * i
        header[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = {
            "dtype": "F32", "shape": [1], "data_offsets": [place, place + 4],
        }  # fmt: skip
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + data + bytes(80_000))
    began = time.process_time()
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert time.process_time() - began < 3  # it took 12 s


def test_shards_and_small_tensors_are_counted(tmp_path: Path) -> None:
    record = json.loads(memory({})["rosetta.safetensors"])
    shards = [{"file": f"a{i}.safetensors", "metadata": None, "tensors": {}} for i in range(2000)]
    keys = memory({}, shards=record["shards"] + shards)
    with pytest.raises(LimitExceededError, match="shards"):
        rosetta_ref.convert(remembering(tmp_path / "m.gguf", keys), tmp_path / "hf")


def test_large_companions_are_refused_together(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", GOLDEN / "llama3-rope-bias")
    for name in ("vocab.txt", "merges.txt", "bpe.codes"):
        with (source / name).open("wb") as file:
            file.truncate(3 * MIB)  # sparse
    with limits.raised({"companions-bytes": 8 * MIB}), pytest.raises(LimitExceededError, match="companions-bytes"):
        rosetta_ref.convert(source, tmp_path / "m.gguf")
    with limits.raised({"companion-bytes": 2 * MIB}), pytest.raises(LimitExceededError, match="companion-bytes"):
        rosetta_ref.convert(source, tmp_path / "m.gguf")
