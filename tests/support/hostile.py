"""Files that somebody made on purpose, from struct and JSON: no writer of this package has a hand in what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rosetta_ref.convert.extras import fingerprint
from rosetta_ref.formats import gguf

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
#: A model that is one file with a SentencePiece tokenizer.
SPM = GOLDEN / "llama-spm"
_STRING, _ARRAY, _U8, _U32 = 8, 9, 0, 4


def text(value: str | bytes) -> bytes:
    """A string of GGUF: its length, its bytes."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str, value: str | int | bytes | list[str]) -> bytes:
    """A key of GGUF with a text, a number (U32), bytes (an array of U8) or texts."""
    if isinstance(value, str):
        body = struct.pack("<I", _STRING) + text(value)
    elif isinstance(value, int):
        body = struct.pack("<II", _U32, value)
    elif isinstance(value, bytes):
        body = struct.pack("<IIQ", _ARRAY, _U8, len(value)) + value
    else:
        body = struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(text, value))
    return text(key) + body


def with_keys(data: bytes, keys: Mapping[str, Any], pad: str = "rosetta.pad") -> bytes:
    """A GGUF file with more keys before its own; another one fills up to the alignment, so that the data need not move."""
    made = b"".join(entry(key, value) for key, value in keys.items())
    made += entry(pad, "x" * (-(len(made) + len(entry(pad, ""))) % 32))
    magic, version, tensors, count = struct.unpack_from("<4sIQQ", data)
    return struct.pack("<4sIQQ", magic, version, tensors, count + len(keys) + 1) + made + data[24:]


def safetensors_header(path: Path) -> dict[str, Any]:
    """The JSON header of a SafeTensors file."""
    data = path.read_bytes()
    return dict(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))


def write_header(path: Path, header: Mapping[str, Any]) -> None:
    """The same file with another header, as the library spells it."""
    data = path.read_bytes()
    rest = data[8 + int.from_bytes(data[:8], "little") :]
    new = json.dumps({"__metadata__": header["__metadata__"], **header}, separators=(",", ":")).encode()
    new += b" " * (-len(new) % 8)
    path.write_bytes(struct.pack("<Q", len(new)) + new + rest)


def companions(of: Path = SPM) -> dict[str, bytes]:
    """The files beside the weights of a golden directory, by name."""
    return {one.name: one.read_bytes() for one in (of / "hf").iterdir() if one.suffix != ".safetensors"}


def memory(files: Mapping[str, bytes], *, names: Iterable[str] | None = None, **record: Any) -> dict[str, Any]:
    """The keys of a model that remembers the directory of `SPM` with these files; `record` changes `rosetta.safetensors`."""
    header = safetensors_header(SPM / "hf" / "model.safetensors")
    shard = {
        "file": "model.safetensors",
        "metadata": header.pop("__metadata__", None),
        "tensors": {name: one["dtype"] for name, one in sorted(header.items(), key=lambda x: x[1]["data_offsets"])},
    }
    made: dict[str, Any] = {
        "rosetta.safetensors": json.dumps({"shards": [shard], "left_out": {}} | record),
        "rosetta.files": list(files) if names is None else list(names),
    }
    made |= {f"rosetta.file.{name}": zlib.compress(data) for name, data in files.items()}
    with gguf.read(SPM / "auto.gguf") as model:
        made["rosetta.digest"] = fingerprint(model.metadata)
    return made


def remembering(path: Path, keys: Mapping[str, Any]) -> Path:
    """A GGUF file of `SPM` with these keys."""
    path.write_bytes(with_keys((SPM / "auto.gguf").read_bytes(), keys))
    return path


def directory(path: Path, of: Path = SPM) -> Path:
    """A copy of a golden Hugging Face directory."""
    return Path(shutil.copytree(of / "hf", path))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def digests(folder: Path) -> dict[str, str]:
    """The same as digests: where they differ, pytest would show all of the bytes."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in snapshot(folder).items()}
