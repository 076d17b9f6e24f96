"""Names: tensors lost, invented, or under the name of another."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosetta_ref.architectures import aprender, huggingface
from rosetta_ref.architectures.complete import require_complete
from rosetta_ref.architectures.names import ARCHITECTURES
from rosetta_ref.architectures.record import Model, Role
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats.apr import writer as apr_writer
from rosetta_ref.formats.apr.tables import aligned
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.files import floats, in_gguf, in_safetensors, model_in
from rosetta_ref.zoo.member import Broken, Member, WaitingError
from rosetta_ref.zoo.seams import Part, replacing

_to_gguf, _to_huggingface, _to_apr, _files = (
    huggingface.tensors_to_gguf, huggingface.to_huggingface, aprender.to_apr, huggingface.files_of,
)  # fmt: skip
Tensors = dict[str, Tensor]


def _everywhere(change: Callable[[Tensors], Tensors], *others: Part) -> Broken:
    """Tensors are changed on their way out of a Hugging Face directory, into one, and into APR."""

    def out(*args: Any) -> Tensors:
        return change(_to_gguf(*args))

    def into(model: Archive) -> tuple[Archive, dict[str, bytes]]:
        made, files = _to_huggingface(model)
        return replace(made, tensors=change(made.tensors)), files

    def apr(model: Archive, **options: Any) -> Archive:
        made = _to_apr(model, **options)
        return replace(made, tensors=change(made.tensors))

    return replacing(
        seams.TENSORS_TO_GGUF.by(out),
        seams.TO_HUGGINGFACE.by(into),
        seams.TO_APR.by(apr),
        *others,
    )


def _without_biases(tensors: Tensors) -> Tensors:
    return {name: one for name, one in tensors.items() if not name.endswith(".bias")}


def _complete_but_for_biases(tensors: Any, metadata: Any, architecture: Any) -> None:
    without = tuple(replace(role, bias="maybe") for role in architecture.layer)
    require_complete(tensors, metadata, replace(architecture, layer=without))


def _with_a_head(tensors: Tensors) -> Tensors:
    """A head that is a copy of the embedding, where there is none."""
    made = dict(tensors)
    for embedding, head in (("token_embd.weight", "output.weight"), ("model.embed_tokens.weight", "lm_head.weight")):
        if embedding in made and head not in made:
            made[head] = replace(made[embedding], name=head)
    return made


def _without_a_head(tensors: Tensors) -> Tensors:
    return {name: one for name, one in tensors.items() if name not in ("output.weight", "lm_head.weight")}


def _said_to_be(tied: bool) -> Broken:
    """config.json says of every model that its head is, or is not, its embedding; only "is" loses a head that is there."""

    def files(model: Archive, *args: Any) -> dict[str, bytes]:
        made = _files(model, *args)
        config = json.loads(made["config.json"])
        return made | {"config.json": huggingface.json_text(config | {"tie_word_embeddings": tied})}

    return replacing(seams.FILES_OF.by(files))


def _gate_is_up(known: Model) -> tuple[Role, ...]:
    """The parts of a layer, gate and up under each other's Hugging Face name."""
    gate, up = (next(role for role in known.layer if role.gguf == name) for name in ("ffn_gate", "ffn_up"))
    theirs = {gate.gguf: up.hf, up.gguf: gate.hf}
    return tuple(replace(role, hf=theirs.get(role.gguf, role.hf)) for role in known.layer)


_LAYER = re.compile(r"blk\.(\d+)\.")


def _by_text(model: Archive) -> tuple[Archive, dict[str, bytes]]:
    """Layers get their places in the order of their numbers as texts: 0, 1, 10, 2."""
    numbers = {match[1] for name in model.tensors if (match := _LAYER.match(name))}
    place = {number: str(place) for place, number in enumerate(sorted(numbers))}
    renamed = ((_LAYER.sub(lambda match: f"blk.{place[match[1]]}.", name), one) for name, one in model.tensors.items())
    return _to_huggingface(replace(model, tensors={name: replace(one, name=name) for name, one in renamed}))


def _sorted_names_only(tensors: Mapping[str, Tensor]) -> bytes:
    """The names sorted as the format asks, and what belongs to them as it came."""
    names, entries, offset = [], [], 0
    for one in tensors.values():
        names.append(apr_writer.name_of(one))
        entries.append(apr_writer.entry_of(one, offset))
        offset += aligned(one.nbytes)
    return b"".join(
        struct.pack("<H", len(name)) + name + rest for name, rest in zip(sorted(names), entries, strict=True)
    )


def _waits() -> Any:
    raise WaitingError("the reference does not know experts")


def _two(first: str, second: str) -> Callable[[Path], Path]:
    return in_gguf(*(replace(floats("F32", n, n + 1), name=name) for n, name in enumerate((first, second), 1)))


MEMBERS = (
    Member(
        "tied-head-dropped", "names", "tinygrad #13796, aprender",
        "no output.weight and no fallback: config.json says that the head is a matrix of its own, which is not there",
        "tied embeddings", "untied files",
        ("G-S", "A-S"), ("safetensors",),
        _said_to_be(tied=False),
        model_in("gguf", tied=True),
        model_in("gguf", tied=False),
        "https://github.com/tinygrad/tinygrad/pull/13796",
    ),
    Member(
        "tied-head-invented", "names", "aprender",
        "a second head is made up, a copy of the embedding",
        "tied embeddings", "untied files",
        ("S-G", "G-S", "G-A", "S-A", "A-S"), ("gguf", "apr", "safetensors"),
        _everywhere(_with_a_head),
        model_in("safetensors", tied=True),
        model_in("safetensors", tied=False),
    ),
    Member(
        "head-taken-for-tied", "names", "ours",
        "the output head is left out of every model as if it were the embedding",
        "a model with a head of its own", "tied files",
        ("S-G", "G-S", "G-A", "S-A", "A-S"), ("gguf", "apr", "safetensors"),
        _everywhere(_without_a_head),
        model_in("safetensors", tied=False),
        model_in("safetensors", tied=True),
    ),
    Member(
        "expert-stacked-into-wrong-layer", "names", "llama.cpp #23237",
        "layer renamed, index for stacking not",
        "two layers of two experts", "one layer",
        ("S-G",), ("gguf",),
        _waits,
        link="https://github.com/ggml-org/llama.cpp/issues/23237",
        waiting_for="experts",
    ),
    Member(
        "drops-biases", "names", "mobius #396",
        "qkv biases of qwen2 omitted",
        "any qwen2 file", "bias-free architectures",
        ("S-G", "G-S", "G-A", "S-A", "A-S"), ("gguf", "apr", "safetensors"),
        _everywhere(_without_biases, seams.COMPLETE_MODEL.by(_complete_but_for_biases)),
        model_in("safetensors", "qwen2"),
        model_in("safetensors", "llama"),
        "https://github.com/onnxruntime/mobius/pull/396",
    ),
    Member(
        "gate-and-up-exchanged", "names", "ours",
        "the two halves of the feed-forward part under each other's names",
        "any model", "both halves equal; a chain there and back",
        ("S-G", "G-S", "S-A", "A-S"), ("gguf", "safetensors"),
        replacing(*(seams.LAYER.of(known).by(_gate_is_up(known)) for known in ARCHITECTURES.values())),
        model_in("safetensors"),
        in_safetensors(floats("F32", 1, 2)),
    ),
    Member(
        "layers-sorted-as-text", "names", "ours",
        "layers are numbered anew in the order of their numbers as texts: 0, 1, 10, 2",
        "11 layers", "10 layers",
        ("G-S", "A-S"), ("safetensors",),
        replacing(seams.TO_HUGGINGFACE.by(_by_text)),
        model_in("gguf", layers=11),
        model_in("gguf", layers=10),
    ),
    Member(
        "index-sorted-data-not", "names", "ours",
        "the names of APR's index are sorted, the entries that belong to them are not",
        "two tensors that are not in the order of their names", "tensors in that order",
        ("G-A", "S-A"), ("apr",),
        replacing(seams.APR_INDEX.by(_sorted_names_only)),
        _two("b.weight", "a.weight"),
        _two("a.weight", "b.weight"),
    ),
)  # fmt: skip
