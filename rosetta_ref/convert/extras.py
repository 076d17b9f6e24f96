"""What a GGUF file has no place for, carried in it all the same: keys under `rosetta.`, which llama.cpp ignores.

A Hugging Face directory that becomes GGUF or APR leaves its companion files here verbatim (deflated), with the types,
shards, `__metadata__` and order of its tensors, so that the way back gives the directory again. The keys also hold digests, of the
model's own metadata and of the files: when somebody edits either, the files no longer speak for the model, and are made anew.

| key | value |
|---|---|
| `rosetta.safetensors` | JSON text (`record`): shards (file, `__metadata__`, names and types), tensors that GGUF leaves out |
| `rosetta.files` | the names of the companion files, and of the index |
| `rosetta.file.NAME` | the bytes of one of them, deflated (zlib) |
| `rosetta.digest` | SHA-256 of the metadata that was made of those files |

`files_sha256` in the record is the digest of the files as stored. Anybody can make both digests anew, so what comes back is held
against the model, too (`agreement`).

The file may come from anybody: only what is in the table of `companions` is ever written under its name, whatever the keys say.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref import foreign, limits
from rosetta_ref.architectures.typed_json import value_to_json
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.convert import originals
from rosetta_ref.convert.companions import CompanionNameError, is_companion, is_weights, require_companions
from rosetta_ref.convert.inflate import Inflater
from rosetta_ref.convert.record import Directory, directory_of, few, record_of
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.safetensors import index_name

PREFIX = "rosetta."
_SHARDS, _FILES, _FILE, _DIGEST = "rosetta.safetensors", "rosetta.files", "rosetta.file.", "rosetta.digest"
#: Keys that describe the encoding, not the model: requantising changes them and no file of the directory.
ENCODING = ("general.file_type", "general.quantization_version", "general.alignment")
#: The companions that GGUF metadata is made of.
MAPPED = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "added_tokens.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip


class BadExtraError(RosettaError):
    """The `rosetta.*` keys are as this tool writes them."""


def remember(
    model: Archive, source: Archive, files: Mapping[str, bytes], hf_names: Mapping[str, str], notes: list[str]
) -> None:
    """Add the keys to a model made of a Hugging Face directory; `hf_names` maps its tensors to their names there.

    Notes say which names cannot come back. What is remembered is what `recall` takes. Raises LeftOutTensorError,
    LimitExceededError, CompanionNameError.
    """
    record = record_of(source, set(hf_names.values()), _file_names(source, notes))
    lost = originals.of_source(source, model, hf_names)
    record |= {"originals": lost} if lost else {}
    record["keys"] = list(strip(model.metadata))
    record["encoding"] = {key: value_to_json(model.metadata[key]) for key in ENCODING if key in model.metadata}
    index = index_name(shard["file"] for shard in record["shards"])
    odd = [name for name in files if name != index and not is_companion(name)]
    if odd:
        notes.append(f"{few(odd)} is not carried: the way back makes {index}")
    names = [name for name in files if name not in odd]
    _require_recallable({name: files[name] for name in names}, index, source.path)
    digest = fingerprint(model.metadata)
    stored = {_FILE + name: _deflated(files[name]) for name in names}
    record["files_sha256"] = _files_sha256(stored)
    model.metadata[_SHARDS] = Value.scalar(Kind.STRING, json.dumps(record, ensure_ascii=False))
    model.metadata[_FILES] = Value.array(Kind.STRING, names)
    model.metadata.update(stored)
    model.metadata[_DIGEST] = Value.scalar(Kind.STRING, digest)


def remember_changed(
    before: Mapping[str, Value], metadata: dict[str, Value], files: Mapping[str, bytes], changed: list[str]
) -> list[str]:
    """Take the companions that changed since into memory, where there is one; else notes on those without a place in GGUF.

    `before` is the metadata as it was when the files were written, `metadata` what it is now.
    """
    if _FILES not in metadata or metadata[_FILES].item is not Kind.STRING or _DIGEST not in metadata:
        lost = [name for name in changed if name not in MAPPED]
        return [f"{few(lost)} changed since, and GGUF has no place for what it says"] if lost else []
    spoke = before[_DIGEST].data == fingerprint(before)
    told = _told_of_files(before)
    names = dict.fromkeys(metadata[_FILES].data)
    for name in changed:
        metadata.pop(_FILE + name, None)
        names.pop(name, None)
        if name in files:
            metadata[_FILE + name] = _deflated(files[name])
            names[name] = None
    metadata[_FILES] = Value.array(Kind.STRING, list(names))
    if told is not None:
        record = json.dumps(told | {"files_sha256": _files_sha256(metadata)}, ensure_ascii=False)
        metadata[_SHARDS] = Value.scalar(Kind.STRING, record)
    if spoke:
        metadata[_DIGEST] = Value.scalar(Kind.STRING, fingerprint(metadata))
    return []


def _told_of_files(metadata: Mapping[str, Value]) -> dict[str, Any] | None:
    """The record, where it says of the stored files what they are; None where it says nothing, or something else."""
    try:
        record = foreign.json_object(_text(metadata, _SHARDS).encode("utf-8", "surrogateescape"), what="the record")
    except RosettaError:
        return None
    return record if record.get("files_sha256") == _files_sha256(metadata) else None


def _files_sha256(metadata: Mapping[str, Value]) -> str:
    """SHA-256 of the companions and their names, as they are stored, in hex."""
    digest = hashlib.sha256()
    for key in sorted(key for key in metadata if key.startswith(_FILE)):
        data = _bytes(metadata, key, None)
        digest.update(f"{key}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
    return digest.hexdigest()


def _require_recallable(files: Mapping[str, bytes], index: str, path: Path | None) -> None:
    """Raise CompanionNameError or LimitExceededError for what would be refused when it comes back."""
    require_companions([name for name in files if name != index], "the directory", file=path)
    limits.require("companions", len(files), "the companions", file=path)
    limits.require("inflated-bytes", sum(map(len, files.values())), "the companions", file=path)


def _deflated(data: bytes) -> Value:
    """The bytes as a zlib stream, which is one of plain bytes where they would inflate by more than is taken back."""
    made = zlib.compress(data, 6)
    if len(data) > len(made) * limits.of("inflated-ratio"):
        made = zlib.compress(data, 0)
    return Value.array(Kind.U8, np.frombuffer(made, np.uint8))


def _file_names(source: Archive, notes: list[str]) -> list[str]:
    """The names under which the files with weights come back: their own, or the usual ones where these are no plain names."""
    names = [part.map.path.name for part in source.parts]
    if all(map(is_weights, names)) and len({name.lower() for name in names}) == len(names):
        return names
    count = len(names)
    usual = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    usual = usual if count > 1 else ["model.safetensors"]
    notes.append(f"{few(names)} will come back as {few(usual)}")
    return usual


def recall(model: Archive, notes: list[str]) -> Directory | None:
    """The remembered directory, or None where there is none or the model's metadata changed since (then a note says so).

    Raises BadExtraError for keys that cannot be read, CompanionNameError for a file that no model has, LimitExceededError.
    """
    if _SHARDS not in model.metadata:
        return None
    metadata, path = model.metadata, model.path
    try:
        directory = directory_of(_text(metadata, _SHARDS), path)
    except limits.LimitExceededError:
        raise
    except (ValueError, RosettaError) as error:
        problem = error.problem if isinstance(error, RosettaError) else str(error)
        raise _bad(_SHARDS, problem, path) from error
    names = _remembered_names(metadata, directory, path)
    changed = "metadata" if _text(metadata, _DIGEST, path) != fingerprint(metadata) else None
    inflater = Inflater(path)
    files = {name: inflater.inflated(_bytes(metadata, _FILE + name, path), _FILE + name) for name in names}
    if changed is None and directory.files_sha256 not in (None, _files_sha256(metadata)):
        changed = "the files themselves"
    if changed:
        notes.append(f"{changed} changed since the Hugging Face files were stored: {left_behind(files)}")
        return None
    return replace(directory, files=files)


def left_behind(files: Iterable[str]) -> str:
    """What becomes of remembered files that do not speak for the model."""
    return f"{few(files) or 'none'} and __metadata__ are left behind, what the model needs is made anew"


def _remembered_names(metadata: Mapping[str, Value], directory: Directory, path: Path | None) -> list[str]:
    """The names of the files that are remembered: companions, and the one index that goes with the shards."""
    value = metadata.get(_FILES)
    if value is None or value.item is not Kind.STRING:
        raise _bad(_FILES, "it is no list of texts", path)
    names: dict[str, None] = dict.fromkeys(value.data)
    limits.require("companions", len(value.data), _FILES, file=path)
    index = index_name(directory.file_names)
    require_companions([name for name in names if name != index], f"the key {_FILES}", file=path)
    for key in metadata:
        name = key.removeprefix(_FILE)
        if key.startswith(_FILE) and name not in names:
            require_companions([name], f"the key {key}", file=path)
            raise CompanionNameError(f"the key {key} is there, and {_FILES} does not name it", file=path)
    if len(names) != len(value.data):
        raise _bad(_FILES, "a name stands twice", path)
    return list(names)


def _text(metadata: Mapping[str, Value], key: str, path: Path | None = None) -> str:
    value = metadata.get(key)
    if value is None or value.kind is not Kind.STRING:
        raise _bad(key, "it is no text", path)
    return str(value.data)


def _bytes(metadata: Mapping[str, Value], key: str, path: Path | None) -> bytes:
    value = metadata.get(key)
    if value is None or value.item is not Kind.U8:
        raise _bad(key, "it is no list of bytes", path)
    return bytes(value.data.tobytes())


def _bad(key: str, problem: str, path: Path | None) -> BadExtraError:
    return BadExtraError(
        f"the key {key} cannot be read: {problem}", file=path, hint="--no-extra-keys leaves such keys out."
    )


def strip(metadata: Mapping[str, Value]) -> dict[str, Value]:
    """The metadata without `rosetta.*` keys."""
    return {key: value for key, value in metadata.items() if not key.startswith(PREFIX)}


def fingerprint(metadata: Mapping[str, Value]) -> str:
    """SHA-256 of the metadata that says what the model is, in hex."""
    digest = hashlib.sha256()
    for key, value in sorted(strip(metadata).items()):
        if key in ENCODING:
            continue
        digest.update(f"{key}\0{value.kind}\0{value.item}\0".encode("utf-8", "surrogateescape"))
        digest.update(_bytes_of(value))
    return digest.hexdigest()


def _bytes_of(value: Value) -> bytes:
    if isinstance(value.data, str):
        return value.data.encode("utf-8", "surrogateescape")
    if isinstance(value.data, list):
        parts = [_bytes_of(x) if isinstance(x, Value) else x.encode("utf-8", "surrogateescape") for x in value.data]
        return b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return bytes(value.data.tobytes())
