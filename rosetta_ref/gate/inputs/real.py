"""Real models as samples: the file as it is, judged in every tensor and key, through the same pairs and chains."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rosetta_ref.archive import Archive
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge.view import look

#: What the names of real samples begin with.
REAL = "real-"


def real_samples(paths: Iterable[Path]) -> list[Sample]:
    """A sample for each file or directory; its only face is the file itself. Raises UnreadableError."""
    return [_sample(Path(path)) for path in paths]


def _sample(path: Path) -> Sample:
    view = look(path)
    tensors = {name: seen.tensor for name, seen in view.tensors.items()}
    labels = {name: f"{tensor.type.name.lower()}/{_role(name)}/real" for name, tensor in tensors.items()}
    model = Archive("gguf", {}, tensors, path, view.archive.parts)
    return Sample(f"{REAL}{path.stem}", model, labels, view.architecture, (view.format,), path=path)


def _role(name: str) -> str:
    """What a tensor is, whatever its layer.

    >>> _role("blk.3.attn_q.weight")
    'attn_q'
    """
    parts = name.split(".")
    return parts[2] if parts[0] == "blk" and len(parts) > 3 else parts[0]
