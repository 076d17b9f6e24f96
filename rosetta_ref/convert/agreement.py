"""Whether the Hugging Face files that a model remembers say what the model says: whoever made the file chose both."""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures import huggingface
from rosetta_ref.architectures.tokenizer import library
from rosetta_ref.archive import Archive
from rosetta_ref.convert.extras import ENCODING, strip
from rosetta_ref.convert.record import few
from rosetta_ref.errors import RosettaError

#: What no file of the directory says: its own name, and how tensors are stored.
_ASIDE = ("general.name", *ENCODING)


def disagreement(model: Archive, weights: Archive | None, files: Mapping[str, bytes]) -> str | None:
    """What the files say otherwise than the model's metadata, or why they cannot be read; None where they agree.

    `weights` are the model's tensors as Hugging Face has them; None: they are found here. A model without metadata, which came
    here with --keep-names, has nothing to say.
    """
    ours = {key: value for key, value in strip(model.metadata).items() if key not in _ASIDE}
    if not ours:
        return None
    try:
        theirs = huggingface.from_huggingface(_weights_of(model) if weights is None else weights, files).metadata
        library.require_taken(files)  # what reads the directory next asks it, too
    except RosettaError as error:
        return error.problem
    odd = [key for key in ours.keys() | theirs.keys() if key not in _ASIDE and ours.get(key) != theirs.get(key)]
    return few(odd) if odd else None


def _weights_of(model: Archive) -> Archive:
    """The tensors under their Hugging Face names, which are those of some APR files that were read with --keep-names."""
    try:
        return huggingface.to_huggingface(model)[0]
    except RosettaError:
        return Archive("safetensors", {}, model.tensors, model.path)
