"""Input that no converter should survive in silence: a clear error within a second, little memory, nothing left behind.

Files are damaged here by hand, from files that gguf-py, the safetensors library and this package's writers made; the
readers' own tests go through their rules one by one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors

from rosetta_ref import RosettaError
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr as apr_format
from rosetta_ref.formats import gguf as gguf_format
from rosetta_ref.formats import safetensors as safetensors_format

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "rosetta_ref" / "demo" / "tiny.gguf"
SHARDED = ROOT / "fixtures" / "golden" / "convert-hf" / "qwen2-tied-sharded" / "hf"
MEMORY = 32 << 20
SINGLE = ROOT / "fixtures" / "golden" / "convert-hf" / "llama-smollm-tied" / "hf"
READ = {".gguf": gguf_format.read, ".apr": apr_format.read, ".safetensors": safetensors_format.read}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each format, by suffix; each is read, and none converts only because of what is done to it."""
    target = tmp_path_factory.mktemp("sound") / "m.apr"
    convert(DEMO, target)
    return {".gguf": DEMO, ".apr": target, ".safetensors": SINGLE / "model.safetensors"}


def beside_its_files(suffix: str, content: bytes, folder: Path) -> Path:
    """A damaged file, with the companions that a sound one would need."""
    if suffix == ".safetensors":
        path = Path(shutil.copytree(SINGLE, folder / "hf")) / "model.safetensors"
    else:
        path = folder / f"damaged{suffix}"
    path.write_bytes(content)
    return path


def assert_refused(source: Path, folder: Path, name: str = "out.gguf") -> RosettaError:
    """Converting fails with a RosettaError that names a file, in a second, in little memory, and leaves nothing."""
    __tracebackhide__ = True
    out = folder / "out"
    out.mkdir(exist_ok=True)
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with pytest.raises(RosettaError) as caught:
            convert(source, out / name)
        seconds, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < 1
    assert peak < MEMORY
    assert list(out.iterdir()) == []
    assert caught.value.rule
    assert str(caught.value.problem)
    return caught.value


@pytest.mark.parametrize("suffix", READ)
def test_truncated_anywhere(suffix: str, sound: dict[str, Path], tmp_path: Path) -> None:
    data = sound[suffix].read_bytes()
    lengths = {*range(72), len(data) - 1, *random.Random(177).sample(range(72, len(data)), 60)}
    cut = tmp_path / f"cut{suffix}"
    for length in sorted(lengths):
        cut.write_bytes(data[:length])
        with pytest.raises(RosettaError), READ[suffix](cut):
            pass


@pytest.mark.parametrize("suffix", READ)
def test_truncated_file_is_not_converted(suffix: str, sound: dict[str, Path], tmp_path: Path) -> None:
    cut = beside_its_files(suffix, sound[suffix].read_bytes()[:-100], tmp_path)
    assert_refused(cut, tmp_path, "out.apr" if suffix == ".gguf" else "out.gguf")


def patched(offset: int, data: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[offset : offset + len(data)] = data

    return change


HUGE = struct.pack("<Q", 2**64 - 1)
DAMAGE = {
    "gguf magic": (".gguf", patched(0, b"GGJT")),
    "gguf version 1": (".gguf", patched(4, struct.pack("<I", 1))),
    "gguf version 99": (".gguf", patched(4, struct.pack("<I", 99))),
    "gguf tensor count": (".gguf", patched(8, HUGE)),
    "gguf tensor count, signed": (".gguf", patched(8, struct.pack("<Q", 2**63 - 1))),
    "gguf key count": (".gguf", patched(16, HUGE)),
    "gguf key length": (".gguf", patched(24, HUGE)),
    "apr magic": (".apr", patched(0, b"APR7")),
    "apr v1": (".apr", patched(0, b"APRN")),
    "apr version": (".apr", patched(4, b"\x09")),
    "apr tensor count": (".apr", patched(8, b"\xff" * 4)),
    "apr index offset": (".apr", patched(24, HUGE)),
    "apr data offset": (".apr", patched(32, HUGE)),
    "apr last byte": (".apr", patched(-4, b"\x00" * 4)),
    "safetensors header length": (".safetensors", patched(0, HUGE)),
    "safetensors header, not JSON": (".safetensors", patched(8, b"}{")),
    "safetensors header, not UTF-8": (".safetensors", patched(10, b"\xff\xfe")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_header(what: str, sound: dict[str, Path], tmp_path: Path) -> None:
    suffix, change = DAMAGE[what]
    content = bytearray(sound[suffix].read_bytes())
    change(content)
    damaged = beside_its_files(suffix, bytes(content), tmp_path)
    assert_refused(damaged, tmp_path, "out.apr" if suffix == ".gguf" else "out.gguf")


def header(entries: dict[str, object], size: int) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def span(start: int, stop: int, dtype: str = "F32", shape: tuple[int, ...] = (2,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


BAD_TABLES = {
    "overlap": header({"a": span(0, 8), "b": span(4, 12)}, 12),
    "gap": header({"a": span(0, 8), "b": span(12, 20)}, 20),
    "beyond the end": header({"a": span(0, 8), "b": span(8, 16)}, 8),
    "size against shape": header({"a": span(0, 12)}, 12),
    "shape near 2^64": header({"a": span(0, 8, shape=(2**63, 4))}, 8),
    "unknown type": header({"a": span(0, 8, dtype="F12")}, 8),
    "duplicate name": header({"a": span(0, 8), "b": span(8, 16)}, 16).replace(b'"b"', b'"a"'),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_bad_safetensors_table(what: str, tmp_path: Path) -> None:
    with pytest.raises(safetensors.SafetensorError):  # the library agrees: the refusal is no whim
        safetensors.deserialize(BAD_TABLES[what])
    assert_refused(beside_its_files(".safetensors", BAD_TABLES[what], tmp_path), tmp_path)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHARDED, tmp_path / "hf"))


def test_missing_shard(shards: Path, tmp_path: Path) -> None:
    missing = sorted(shards.glob("model-*.safetensors"))[1]
    missing.unlink()
    assert missing.name in str(assert_refused(shards, tmp_path))


def test_index_names_a_tensor_twice(shards: Path, tmp_path: Path) -> None:
    index = shards / "model.safetensors.index.json"
    text = index.read_text()
    name = next(iter(json.loads(text)["weight_map"]))
    first = sorted(shards.glob("model-*.safetensors"))[0].name
    index.write_text(text.replace('"weight_map": {', f'"weight_map": {{ "{name}": "{first}",', 1))
    assert name in str(assert_refused(shards, tmp_path))


def test_index_names_a_tensor_that_is_elsewhere(shards: Path, tmp_path: Path) -> None:
    index = shards / "model.safetensors.index.json"
    record = json.loads(index.read_text())
    name, home = next(iter(record["weight_map"].items()))
    record["weight_map"][name] = next(file for file in record["weight_map"].values() if file != home)
    index.write_text(json.dumps(record))
    assert name in str(assert_refused(shards, tmp_path))


@pytest.mark.parametrize("name", ["nothing.gguf", "nothing.apr", "nothing.safetensors", "nothing"])
def test_source_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        convert(tmp_path / name, tmp_path / ("out.gguf" if name != "nothing.gguf" else "out.apr"))
    assert list(tmp_path.iterdir()) == []


def test_target_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RosettaError):
        convert(DEMO, tmp_path / "no" / "such" / "folder" / "out.apr")
    assert list(tmp_path.iterdir()) == []


def test_target_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RosettaError):
        convert(DEMO, tmp_path / "file" / "out.apr")


def test_existing_target_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out.apr").write_text("precious")
    with pytest.raises(RosettaError, match="force"):
        convert(DEMO, tmp_path / "out.apr")
    assert (tmp_path / "out.apr").read_text() == "precious"
    convert(DEMO, tmp_path / "out.apr", force=True)
    assert os.listdir(tmp_path) == ["out.apr"]


FULL = """
import resource, signal, sys
from rosetta_ref import RosettaError
from rosetta_ref.convert import convert
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    convert(sys.argv[1], sys.argv[2])
except RosettaError as error:
    print(error)
    sys.exit(3)
"""


@pytest.mark.parametrize("name", ["out.apr", "hf", "out.safetensors"])
def test_full_target(name: str, tmp_path: Path) -> None:
    """The system refuses every byte after the first 100,000, as a full disk does."""
    command = [sys.executable, "-c", FULL, str(DEMO), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert name in done.stdout
    assert list(tmp_path.iterdir()) == []
