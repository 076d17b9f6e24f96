"""Between APR as aprender uses it and the canonical, GGUF-shaped model.

Names and row order are the record's: llama-family files carry GGUF's names and GGUF's order of the rows of q and k (rope_type 0),
qwen2-family files Hugging Face's names and order (rope_type 2, and qwen2 has that order in GGUF too). Both kinds of names are read.

Metadata: what APR has keys for stands under them; the GGUF metadata stands beside them, typed and in order, under
`rosetta.gguf_metadata`. A file that was not made here is read by APR's own keys (`aprender_keys`), and its JSON
travels along under `rosetta.apr.metadata`, so that the way back to APR gives it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rosetta_ref.architectures.aprender_json import from_entries, to_entries
from rosetta_ref.architectures.aprender_keys import PLACES
from rosetta_ref.architectures.aprender_numbers import apr_keys, gguf_metadata
from rosetta_ref.architectures.checked import shown, whole
from rosetta_ref.architectures.names import (
    ARCHITECTURES,
    KEEP_HINT,
    ExpertsError,
    UnknownArchitectureError,
    architecture_of_metadata,
    unknown,
)
from rosetta_ref.architectures.record import ROPES, Model
from rosetta_ref.architectures.transforms import PermuteRows, to_gguf
from rosetta_ref.architectures.windows import require_usual_pattern
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import ForeignTextError, json_object
from rosetta_ref.formats.apr.metadata import lookup
from rosetta_ref.formats.apr.tables import ALIASES, GGML_TYPES, NOT_NULL

GGUF_METADATA = "rosetta.gguf_metadata"
APR_METADATA = "rosetta.apr.metadata"

#: What files call an architecture, in small letters -> GGUF's name for it.
_FAMILIES = {
    word.lower(): model.name
    for model in ARCHITECTURES.values()
    for word in (model.name, *model.model_types, *model.classes, *model.apr_words)
}


class RopeTypeError(RosettaError):
    """rope_type is 0 (adjacent pairs) or 2 (split halves), and a row order that the architecture is known to use."""


class ValuesUnknownError(RosettaError):
    """Where Hugging Face and GGUF have different values under one name, an APR file says which of them it was made of."""


class NameClashError(RosettaError):
    """Two tensors do not become one."""


class AprMetadataError(RosettaError):
    """`rosetta.apr.metadata` is the JSON object that an APR file had."""


_LEAVE = "--no-extra-keys leaves such keys out."


def to_apr(model: Archive, *, keep_names: bool = False, extra: bool = True) -> Archive:
    """A canonical model as aprender would store it; `extra=False` leaves the `rosetta.*` keys out.

    Raises UnknownArchitectureError, ExpertsError, UnmappedTensorError, and PatternPlaceError.
    """
    names = apr_names(model, keep_names=keep_names)
    tensors = {name: replace(tensor, name=name) for name, tensor in zip(names, model.tensors.values(), strict=True)}
    if len(tensors) != len(names):
        raise NameClashError("two tensors of the model have the same name in APR", file=model.path)
    metadata = {key: value for key, value in model.metadata.items() if key != APR_METADATA}
    architecture = _plain(metadata, "general.architecture")
    made = own_keys(metadata, architecture, tensors, rope=not keep_names)
    if extra:
        original = remembered_json(model)
        if original and _describes(original, metadata):
            made = _repaired(original, made, tensors)
        else:
            made |= {key: value for key, value in _unclaimed(original).items() if key not in made}
            made[GGUF_METADATA] = to_entries(metadata, made, PLACES)
    elif architecture in ARCHITECTURES and not keep_names:
        require_usual_pattern(metadata, ARCHITECTURES[architecture])
    return Archive("apr", made, tensors, model.path, model.parts)


def apr_names(model: Archive, *, keep_names: bool = False) -> list[str]:
    """The names that the model's tensors get in APR, in the model's order."""
    if keep_names:
        return list(model.tensors)
    try:
        architecture = architecture_of_metadata(model.metadata)
    except RosettaError as error:
        raise error.at(file=model.path) from None
    if not architecture.apr_hf:
        return list(model.tensors)
    return [architecture.to_hf(name) for name in model.tensors]


def from_apr(archive: Archive, *, keep_names: bool = False) -> Archive:
    """What an APR file holds, as a canonical model; notes are added to the archive's.

    Raises UnknownArchitectureError, ExpertsError, MissingMetadataError, RopeTypeError, UnmappedTensorError.
    """
    try:
        if keep_names:
            return _as_stored(archive)
        architecture = _architecture(archive.metadata)
        metadata = _metadata(archive, architecture)
        if lookup(archive.metadata, "num_experts") or _plain(metadata, f"{architecture}.expert_count"):
            raise ExpertsError("num_experts is not 0", hint=KEEP_HINT)
        tensors = _tensors(archive, ARCHITECTURES[architecture])
    except RosettaError as error:
        raise error.at(file=archive.path) from error.__cause__
    return Archive("gguf", metadata, tensors, archive.path, archive.parts, archive.notes)


def _as_stored(archive: Archive) -> Archive:
    if GGUF_METADATA in archive.metadata:
        metadata = from_entries(archive.metadata[GGUF_METADATA], archive.metadata, PLACES)
    else:
        stated = archive.metadata.get("architecture") or archive.metadata.get("model_type") or "unknown"
        if not isinstance(stated, str):
            raise UnknownArchitectureError(f"architecture {shown(stated)}")
        metadata = {"general.architecture": Value.scalar(Kind.STRING, stated), **_remembered(archive.metadata)}
    return Archive("gguf", metadata, dict(archive.tensors), archive.path, archive.parts, archive.notes)


def _architecture(metadata: Mapping[str, Any]) -> str:
    stated = [metadata.get(key) for key in ("architecture", "model.architecture", "hf_model_type", "model_type")]
    for word in stated:
        if isinstance(word, str) and word.lower() in _FAMILIES:
            return _FAMILIES[word.lower()]
        if word:
            break
    named = next((word for word in stated if word), None)
    problem = f"architecture {shown(named)}" if named else "the metadata names no architecture"
    raise unknown(problem)


# --- metadata


def _metadata(archive: Archive, architecture: str) -> dict[str, Value]:
    stored = archive.metadata
    if GGUF_METADATA not in stored:
        metadata, notes = gguf_metadata(stored, architecture)
        archive.notes += notes
        return metadata | _remembered(stored)
    metadata = from_entries(stored[GGUF_METADATA], stored, PLACES)
    expected = own_keys(metadata, architecture, archive.tensors)
    added = {
        key: value for key, value in stored.items() if key != GGUF_METADATA and expected.get(key, _ABSENT) != value
    }
    changed = [key for key in added if key in expected]
    if changed:
        archive.notes.append(f"{', '.join(changed)} changed since; the model is read by {GGUF_METADATA}")
    return metadata | (_remembered(added) if added else {})


_ABSENT = object()


def own_keys(
    metadata: Mapping[str, Value], architecture: Any, tensors: Mapping[str, Tensor], *, rope: bool = True
) -> dict[str, Any]:
    """The metadata of a model under the keys of APR's own."""
    made = apr_keys(metadata, str(architecture))
    made["total_size"] = sum(tensor.nbytes for tensor in tensors.values())
    made["param_count"] = sum(tensor.count for tensor in tensors.values())
    made["original_format"] = "gguf"
    if rope and architecture in ARCHITECTURES:
        made["rope_type"] = ROPES[ARCHITECTURES[architecture].rope]
    return made


def _remembered(stored: Mapping[str, Any]) -> dict[str, Value]:
    """The JSON of a file as one GGUF key, for the way back."""
    text = json.dumps(dict(stored), ensure_ascii=True, separators=(",", ":"))
    return {APR_METADATA: Value.scalar(Kind.STRING, text)}


def remembered_json(model: Archive) -> dict[str, Any]:
    """The JSON of an APR file that a model remembers; {} where there is none. Raises AprMetadataError."""
    value = model.metadata.get(APR_METADATA)
    if value is None:
        return {}
    if value.kind is not Kind.STRING:
        raise AprMetadataError(f"the key {APR_METADATA} is no text", file=model.path, hint=_LEAVE)
    try:
        return json_object(value.data, file=model.path, what=f"the key {APR_METADATA}")
    except ForeignTextError as error:
        raise AprMetadataError(error.problem, file=model.path, hint=_LEAVE) from error


def _describes(original: Mapping[str, Any], metadata: Mapping[str, Value]) -> bool:
    """Whether GGUF metadata still is what the original JSON says."""
    try:
        return gguf_metadata(original, _architecture(original))[0] == dict(metadata)
    except RosettaError:
        return False


def _repaired(original: dict[str, Any], made: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The original JSON, with what is no longer true of the file, or would make it unreadable, put right."""
    # What our own keys mean is made anew: in a text from anybody, they would say that the tensors are of other types.
    repaired = {key: value for key, value in original.items() if key not in (GGML_TYPES, GGUF_METADATA)}
    for key, aliases in ALIASES.items():
        present = [name for name in (key, *aliases) if name in repaired]
        for name in present[1:]:
            del repaired[name]
    for key in ("rope_type", *(key for key in NOT_NULL if repaired.get(key, 0) is None)):
        repaired.pop(key, None)
        repaired |= (
            {key: made[key]} if key in made else {}
        )  # with names as stored, nobody says what order the rows are in
    if "tensor_shapes" in repaired:
        repaired["tensor_shapes"] = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())}
    return repaired


def _unclaimed(original: Mapping[str, Any]) -> dict[str, Any]:
    """Custom keys of the original: not APR's own, no aliases, nothing that GGUF metadata speaks for."""
    aliases = {alias for names in ALIASES.values() for alias in names}
    return {
        key: value
        for key, value in original.items()
        if key not in aliases and not key.startswith(("tokenizer.", "rosetta.")) and key != "tensor_shapes"
    }


def _plain(metadata: Mapping[str, Value], key: str) -> Any:
    value = metadata.get(key)
    return value.plain() if value is not None else None


# --- tensors


def _tensors(archive: Archive, model: Model) -> dict[str, Tensor]:
    hf = any(name.startswith(("model.", "lm_head.")) for name in archive.tensors)
    turned = rope_type_of(archive.metadata, model, hf) != ROPES[model.rope]
    theirs = hf and _values_are_theirs(archive.metadata, model)
    tensors: dict[str, Tensor] = {}
    for stored in archive.tensors.values():
        name = model.to_gguf(stored.name) if hf else stored.name
        if name in tensors:
            raise NameClashError(f"becomes {name!r}, which is there already", tensor=stored.name)
        tensor = replace(stored, name=name)
        role = model.role(name) if theirs else None
        if role is not None:
            tensor = to_gguf(tensor, tuple(step for step in role.transforms if not isinstance(step, PermuteRows)), {})
        tensors[name] = _to_pairs(tensor, model, archive.metadata) if turned else tensor
    return tensors


def _values_are_theirs(metadata: Mapping[str, Any], model: Model) -> bool:
    """Whether a file with Hugging Face's names has Hugging Face's values, where these differ (Gemma's norms).

    aprender keeps values, so that it hangs on what the file was made of. Raises ValuesUnknownError.
    """
    steps = [step for role in (*model.once, *model.layer) for step in role.transforms]
    if all(isinstance(step, PermuteRows) for step in steps):  # of which rope_type speaks
        return False
    origin = metadata.get("original_format")
    if not isinstance(origin, str) or origin not in _THEIR_VALUES:
        what = f"original_format is {shown(origin)}, so that norms of {model.name} could be w, or 1 + w"
        raise ValuesUnknownError(what, hint=KEEP_HINT)
    return _THEIR_VALUES[origin]


def rope_type_of(metadata: Mapping[str, Any], model: Model, hf: bool) -> int:
    """The row order of q and k in the file. Raises RopeTypeError."""
    stated = lookup(metadata, "rope_type")
    if stated is None:
        return 2 if hf else ROPES[model.rope]
    turns = model.rope == "NORM"
    if type(stated) is not int or stated not in ROPES.values() or not (turns or stated == ROPES[model.rope]):
        raise RopeTypeError(f"rope_type {shown(stated)} in a file of architecture {model.name!r}", hint=KEEP_HINT)
    return int(stated)


def _to_pairs(tensor: Tensor, model: Model, metadata: Mapping[str, Any]) -> Tensor:
    """A tensor of a file in halves order with its rows as GGUF has them."""
    role = model.role(tensor.name)
    turns = tuple(step for step in role.transforms if isinstance(step, PermuteRows)) if role is not None else ()
    if not turns:
        return tensor
    queries, groups = lookup(metadata, "num_heads"), lookup(metadata, "num_kv_heads")
    heads = {"H": queries, "G": queries if groups is None else groups}
    return to_gguf(tensor, turns, {step.letter: whole(heads[step.letter], _HEADS[step.letter]) for step in turns})


_HEADS = {"H": "num_heads", "G": "num_kv_heads"}
#: What APR calls the format that a file was made of, and whether that one has Hugging Face's values.
_THEIR_VALUES = {"gguf": False, "safetensors": True}
