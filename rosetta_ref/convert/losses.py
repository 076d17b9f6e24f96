"""What a target has no place for, by name: the notes without which it would be gone in silence."""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures import aprender, huggingface
from rosetta_ref.architectures.aprender_numbers import gguf_metadata
from rosetta_ref.architectures.typed_json import value_to_json
from rosetta_ref.archive import Archive, Value
from rosetta_ref.convert.extras import ENCODING, PREFIX, strip
from rosetta_ref.convert.record import Directory, few
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr.tables import ALIASES

#: How many names a note has: what is lost is to be seen.
_NAMED = 40
#: The `__metadata__` that this package writes where nobody had another one.
PLAIN_HEADER = {"format": "pt"}


def of_headers(archive: Archive) -> list[str]:
    """The notes on `__metadata__` of weights that go to where `rosetta/` came from, which has no place for it."""
    odd = {key for part in archive.parts for key, value in part.metadata.items() if PLAIN_HEADER.get(key) != value}
    return [f"__metadata__ of the weights is left behind: {few(odd, _NAMED)}"] if odd else []


def of_remembered(model: Archive, directory: Directory) -> list[str]:
    """The notes on metadata that a directory, restored as it was, does not say."""
    notes = []
    ours = [key for key in strip(model.metadata) if key not in ENCODING]
    theirs = [key for key in directory.keys if key not in ENCODING] if directory.keys is not None else ours
    if ours != theirs:  # the same keys, or the digest had told; unless somebody edited the list of them
        first = next((a for a, b in zip(ours, [*theirs, None], strict=False) if a != b), None)
        since = f", from {few([first])} on" if first is not None else ""
        notes.append(f"the order of the metadata keys is lost in a Hugging Face directory{since}")
    changed = _encoding_changed(model.metadata, directory)
    if changed:
        notes.append(f"a Hugging Face directory has no place for {few(changed)}")
    return notes + of_extras(model)


def _encoding_changed(metadata: Mapping[str, Value], directory: Directory) -> list[str]:
    if directory.encoding is None:  # nothing was written down: an alignment is never what a directory implies
        return [key for key in ("general.alignment",) if key in metadata]
    now = {key: value_to_json(metadata[key]) for key in ENCODING if key in metadata}
    return [key for key in ENCODING if now.get(key) != directory.encoding.get(key)]


def of_extras(model: Archive) -> list[str]:
    """The notes on keys under `rosetta.` that are not those of a remembered directory: APR's own, and unknown ones."""
    notes = []
    if aprender.APR_METADATA in model.metadata:
        keys = aprender.remembered_json(model)
        notes.append(f"a Hugging Face directory has no place for keys of the APR file: {few(keys, _NAMED) or 'none'}")
    known = (aprender.APR_METADATA, "rosetta.safetensors", "rosetta.files", "rosetta.digest")
    odd = [
        key for key in model.metadata
        if key.startswith(PREFIX) and key not in known and not key.startswith("rosetta.file.")
    ]  # fmt: skip
    return [*notes, f"a Hugging Face directory has no place for {few(odd, _NAMED)}"] if odd else notes


def of_directory(model: Archive, written: Archive, files: Mapping[str, bytes], *, keep_names: bool) -> list[str]:
    """The notes on metadata that a directory without `rosetta/` does not say: it is read again, and what differs is named."""
    ours, theirs = strip(model.metadata), _read_again(written, files, keep_names=keep_names)
    aside = [key for key in ENCODING if key != "general.alignment"]
    lost = [key for key, value in ours.items() if theirs.get(key) != value and key not in aside]
    notes = [f"without rosetta/, a Hugging Face directory has no place for {few(lost, _NAMED)}"] if lost else []
    common = [key for key in ours if key in theirs]
    if common != [key for key in theirs if key in ours]:
        notes.append("without rosetta/, the order of the metadata keys is lost")
    return notes + of_extras(model)


def _read_again(written: Archive, files: Mapping[str, bytes], *, keep_names: bool) -> dict[str, Value]:
    if keep_names:
        return {}
    try:
        return huggingface.from_huggingface(written, files).metadata
    except RosettaError:  # then it says nothing
        return {}


def of_apr(model: Archive, written: Archive, *, extra_keys: bool) -> list[str]:
    """The notes on what an APR file does not say: of the JSON of the one that the model came from, and of GGUF metadata."""
    original = aprender.remembered_json(model)
    replaced = {alias for key, names in ALIASES.items() for alias in (key, *names)} if original else set()
    lost = [key for key in original if key not in written.metadata and key not in replaced]
    if not extra_keys:
        lost += _without_extra_keys(model, written)
    return [f"the APR file has no place for {few(lost, _NAMED)}"] if lost else []


def _without_extra_keys(model: Archive, written: Archive) -> list[str]:
    try:
        said, _ = gguf_metadata(written.metadata, str(written.metadata.get("architecture")))
    except RosettaError:
        said = {}
    return [key for key, value in strip(model.metadata).items() if said.get(key) != value and key not in ENCODING]


def of_stripped(metadata: Mapping[str, Value]) -> list[str]:
    """The note on keys that --no-extra-keys leaves behind."""
    gone = [key for key in metadata if key.startswith(PREFIX)]
    return [f"--no-extra-keys leaves behind {few(gone)}"] if gone else []


def of_weights(directory: Directory, notes: list[str], *, kept: bool) -> None:
    """Note what a directory loses that is written anew, for its tensors are no longer those it had."""
    if directory.left_out:
        notes.append(f"not written again: {few(directory.left_out)}")
    header = directory.header([])
    odd = {key for key, value in header.items() if PLAIN_HEADER.get(key) != value}
    if odd and not kept:
        notes.append(f"__metadata__ is not written again: {few(odd, _NAMED)}")
