"""Files whose data begins elsewhere under each alignment, so that a reader which takes another one reads other bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.gate.inputs.models import seed_of
from rosetta_ref.gate.inputs.sample import Sample


def aligned(sample: Sample, alignment: int, seed: int) -> Sample:
    """The sample with that alignment, and a header that ends 1 to 8 bytes behind a multiple of 128.

    So its data begins elsewhere under each of the alignments 8, 16, 32, 64 and 128: a reader that takes another one, or none, reads
    other bytes. A text of the metadata fills the header up.
    """
    past = 1 + seed_of(seed, "header", str(alignment)) % 8
    keys = dict(sample.model.metadata)
    keys["general.alignment"] = Value.scalar(Kind.U32, alignment)
    keys["general.description"] = Value.scalar(Kind.STRING, "")
    fill = (past - header_size(replace(sample.model, metadata=keys))) % 128
    keys["general.description"] = Value.scalar(Kind.STRING, "." * fill)
    labels = {name: f"{label}/alignment-{alignment}" for name, label in sample.labels.items()}
    model = replace(sample.model, metadata=keys)
    return replace(sample, name=f"{sample.name}-{alignment}", model=model, labels=labels, formats=("gguf",))


def header_size(model: Archive) -> int:
    """Bytes of a GGUF file before the padding in front of the data."""
    size = 24 + sum(12 + len(key.encode()) + _value_size(value) for key, value in model.metadata.items())
    return size + sum(24 + len(name.encode()) + 8 * len(tensor.shape) for name, tensor in model.tensors.items())


def _value_size(value: Value) -> int:
    if value.kind is Kind.ARRAY:
        return 12 + (value.data.nbytes if isinstance(value.data, np.ndarray) else sum(map(_text_size, value.data)))
    return _text_size(value.data) if value.kind is Kind.STRING else int(value.data.nbytes)


def _text_size(text: str) -> int:
    return 8 + len(text.encode())
