"""Configuration, metadata and records of which any part is something else: converted or refused, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref import RosettaError, cli
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.formats import apr, gguf

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"

JUNK = [
    None, [], {}, "", "4", 4.5, -1, 0, True, math.inf, math.nan, 2**64, 10**400, [1], [[]], [None], ["x"], {"a": 1},
    {"type": None}, [{"type": []}], {"content": 5}, ["a", "b", "c"],
]  # fmt: skip
SURROGATE = '"\\ud800"'
RAW = [
    b"", b"null", b"[]", b"7", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000, b"{", b"{} {}", b"{}",
    b'{"a": ' + b"9" * 5000 + b"}", b'{"model": "x"}', b'{"model": null}', b'{"model": []}',
    b'{"config": "\xed\xa0\x80"}',
]  # fmt: skip


def places(node: Any) -> Iterator[tuple[Any, ...]]:
    """Paths to every value, of long lists and tables to the first two and the last."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys if len(keys) < 40 and not isinstance(node, list) else keys[:2] + keys[-1:]:
        yield (key,)
        yield from ((key, *rest) for rest in places(node[key]))


#: Each place gets a quarter of the junk, or an eighth; by night four times as much of it.
QUARTER = pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
EIGHTH = pytest.mark.parametrize("step", [8, pytest.param(2, marks=pytest.mark.slow)])


def says_no_more_than_an_error(source: Path, target: Path) -> bool:
    """Run the command line; any exception fails the test. Whether it converted."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(["convert", str(source), str(target), "--quiet", "--force", "--lenient"])
    assert code == (1 if errors.getvalue() else 0)
    return code == 0


@QUARTER
@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("llama3-rope-bias", "config.json"),
        # A large file that is read again and again, and the same code as a small one's: by night.
        pytest.param("llama3-rope-bias", "tokenizer.json", marks=pytest.mark.slow),
        ("llama3-rope-bias", "tokenizer_config.json"),
        pytest.param("llama3-rope-bias", "generation_config.json", marks=pytest.mark.slow),  # read by the same code
        ("llama-spm", "tokenizer_config.json"),
        ("llama-spm", "tokenizer.model"),
        ("qwen2-tied-sharded", "model.safetensors.index.json"),
    ],
)
def test_a_damaged_companion_is_no_traceback(directory: str, name: str, step: int, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(GOLDEN / directory / "hf", tmp_path / "hf"))
    original, tried = (copy / name).read_bytes(), 0
    texts = [raw.decode("latin-1") for raw in RAW]
    step = 4 if name == "tokenizer.json" else step  # it has many places
    for i, path in enumerate(places(json.loads(original)) if name.endswith(".json") else ()):
        for junk in [*JUNK, SURROGATE][i % step :: step]:
            changed_at = content = json.loads(original)
            for key in path[:-1]:
                changed_at = changed_at[key]
            changed_at[path[-1]] = junk
            texts.append(json.dumps(content).replace(json.dumps(SURROGATE), SURROGATE))
    for text in texts:
        (copy / name).write_bytes(text.encode("latin-1"))
        says_no_more_than_an_error(copy, tmp_path / "m.gguf")
        tried += 1
    assert tried >= len(RAW)


VALUES = [
    Value.scalar(Kind.U32, 0), Value.scalar(Kind.U32, 3), Value.scalar(Kind.I32, -1), Value.scalar(Kind.U64, 2**64 - 1), Value.scalar(Kind.F32, math.nan), Value.scalar(Kind.F32, 1.5),
    Value.scalar(Kind.F32, math.inf), Value.scalar(Kind.F64, 1e300), Value.scalar(Kind.BOOL, 1), Value.scalar(Kind.STRING, ""),
    Value.scalar(Kind.STRING, "\udcff"), Value.array(Kind.STRING, []), Value.array(Kind.STRING, ["\udcff", "a b"]),
    Value.array(Kind.U32, [8, 8]), Value.array(Kind.F32, [1.0]), Value.array(Kind.ARRAY, [Value.array(Kind.U32, [1])]),
]  # fmt: skip
FURTHER = [
    "rope.scale_linear", "rope.scaling.yarn_ext_factor", "rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier",
    "expert_count",
]  # fmt: skip


# The keys of another tokenizer are read by the same code: by night.
@QUARTER
@pytest.mark.parametrize("name", ["llama-yarn", pytest.param("llama-spm", marks=pytest.mark.slow)])
def test_a_damaged_key_is_no_traceback(name: str, step: int, tmp_path: Path) -> None:
    base = gguf.read(GOLDEN / name / "auto.gguf")
    keys = [key for key in base.metadata if key != "general.alignment"]
    further = [*(f"llama.{key}" for key in FURTHER), "tokenizer.chat_templates", "tokenizer.ggml.unknown_token_id"]
    for i, key in enumerate((*keys, *further, "rosetta.safetensors", "rosetta.apr.metadata")):
        for value in VALUES[i % step :: step]:
            changed = Archive("gguf", base.metadata | {key: value}, base.tensors)
            gguf.write(changed, tmp_path / "m.gguf", lenient=True)
            says_no_more_than_an_error(tmp_path / "m.gguf", tmp_path / "hf")
    assert len(keys) > 20


def damaged(content: bytes | str, step: int) -> Iterator[str]:
    """The JSON with a part of the junk at each place, and with each place taken out."""
    for i, path in enumerate(places(json.loads(content))):
        for junk in [*JUNK, ...][i % step :: step]:
            at = node = json.loads(content)
            for key in path[:-1]:
                at = at[key]
            if junk is ...:
                del at[path[-1]]
            else:
                at[path[-1]] = junk
            yield json.dumps(node)


@EIGHTH
def test_a_damaged_memory_of_a_directory_is_no_traceback(step: int, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / "qwen2-tied-sharded" / "hf", tmp_path / "base.gguf")
    with gguf.read(tmp_path / "base.gguf") as base:
        record = json.loads(base.metadata["rosetta.safetensors"].data)
        record["left_out"]["lm_head.weight"] = {"type": "F32", "shape": [1], "base64": "AAAAAA=="}
        for text in damaged(json.dumps(record), step):
            metadata = base.metadata | {"rosetta.safetensors": Value.scalar(Kind.STRING, text)}
            gguf.write(Archive("gguf", metadata, base.tensors), tmp_path / "m.gguf")
            says_no_more_than_an_error(tmp_path / "m.gguf", tmp_path / "hf")


@EIGHTH
def test_a_damaged_record_of_kept_blocks_is_no_traceback(step: int, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / "llama-yarn" / "q8_0.gguf", tmp_path / "hf")
    path = tmp_path / "hf" / "rosetta" / "source.json"
    for text in [*damaged(path.read_bytes(), step), "", "[" * 100_000]:
        path.write_text(text)
        says_no_more_than_an_error(tmp_path / "hf", tmp_path / "m.gguf")


@EIGHTH
def test_damaged_apr_metadata_is_no_traceback(step: int, tmp_path: Path) -> None:
    rosetta_ref.convert(GOLDEN / "llama-yarn" / "auto.gguf", tmp_path / "base.apr")
    with apr.read(tmp_path / "base.apr") as base:
        tried = 0
        for text in damaged(json.dumps(base.metadata), step):
            with contextlib.suppress(RosettaError):  # what the writer does not write, the reader need not read
                apr.write(Archive("apr", json.loads(text), base.tensors), tmp_path / "m.apr")
                says_no_more_than_an_error(tmp_path / "m.apr", tmp_path / "m.gguf")
                tried += 1
        assert tried > 50
