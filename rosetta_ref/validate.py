"""What no model should hold: NaN, Inf, and numbers so large that bytes were read as something that they are not.

Structure is checked by the readers; this module looks at the numbers, as they are stored, and streams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.architectures.aprender_keys import gguf_texts, gguf_tokenizer
from rosetta_ref.architectures.tokenizer.bpe import MissingMergesError, require_key, require_merges
from rosetta_ref.architectures.tokenizer.parts import from_json, table
from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.beside import NOTHING, kind_of, read_beside
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import PointerError
from rosetta_ref.streaming import byte_of, each, index_of, value_chunks

#: A weight tensor whose mean is larger has been misread; no trained model comes near.
LARGEST_MEAN = 100.0
#: Gains of norms are larger: one of the published Gemma 3 270M has a mean of 324. Bytes read as floats have means of about 1e35.
LARGEST_MEAN_OF_GAINS = 1e6

#: What llama-imatrix calls its sums: of squares, and how many they are of.
_SUMS = (".in_sum2", ".counts")

#: Counts and positions, not weights: they have no NaN and may have any mean.
_INTEGERS = frozenset({"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"})


class NothingJudgedError(RosettaError):
    """A verdict counts what it judged, and nothing judged is an error."""


@dataclass(frozen=True)
class Finding:
    """Something wrong in a tensor. `index` and `offset` (in `file`) are those of the first place, where there is one."""

    tensor: str
    problem: str
    count: int
    detail: str
    index: tuple[int, ...] | None = None
    file: Path | None = None
    offset: int | None = None

    def __str__(self) -> str:
        place = "" if self.index is None else f", first at {self.index}"
        place += "" if self.offset is None else f", byte {self.offset:#x} of {self.file}"
        return f"tensor {self.tensor!r}: {self.problem}: {self.detail}{place}"

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return vars(self) | {"index": self.index and list(self.index), "file": self.file and str(self.file)}


@dataclass
class Report:
    """What was judged and what was found; iterating gives the findings. `not_judged` maps tensors to their types."""

    path: Path | None
    judged: int = 0
    elements: int = 0
    findings: list[Finding] = field(default_factory=list)
    all_zero: list[str] = field(default_factory=list)
    not_judged: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        plain = {"path": str(self.path) if self.path else None, "ok": self.ok}
        return plain | (vars(self) | plain | {"findings": [finding.to_json() for finding in self.findings]})


@dataclass
class _Tally:
    """Running counts over the chunks of one tensor."""

    counts: dict[str, int] = field(default_factory=lambda: {"NaN": 0, "Inf": 0})
    first: dict[str, int] = field(default_factory=dict)
    total: float = 0.0
    finite: int = 0
    nonzero: bool = False

    def add(self, start: int, values: NDArray[Any]) -> None:
        finite = np.isfinite(values)
        if finite.all():
            self.total += float(np.sum(values, dtype=np.float64))
            self.finite += values.size
            self.nonzero = self.nonzero or bool(values.any())
            return
        self.nonzero = True
        self.total += float(np.sum(values[finite], dtype=np.float64))
        self.finite += int(finite.sum())
        for problem, places in (("NaN", np.isnan(values)), ("Inf", np.isinf(values))):
            if count := int(places.sum()):
                self.counts[problem] += count
                self.first.setdefault(problem, start + int(np.argmax(places)))


def validate(archive: Archive, *, progress: Callable[[int], None] | None = None) -> Report:
    """Look at every number of every tensor.

    NaN and Inf are findings, and so is a mean beyond 100, or beyond 1e6 of the gain of a norm; an importance matrix sums, so it may
    have any. A tensor of zeros is only mentioned, and one whose type has no decoder is counted as not judged. Raises
    NothingJudgedError where no number could be looked at.
    """
    _require_merges(archive)
    report = Report(archive.path, notes=list(archive.notes))
    sums = _is_importance(archive)
    judged = [tensor for tensor in archive.tensors.values() if tensor.type.decode is not None]
    report.not_judged = {t.name: t.type.name for t in archive.tensors.values() if t.type.decode is None}
    tallies = each(_tally, judged, sum(tensor.nbytes for tensor in judged))
    for tensor, tally in zip(judged, tallies, strict=True):
        report.judged += 1
        report.elements += tensor.count
        report.findings += _findings(tensor, tally, _largest_mean(tensor, sums=sums))
        if tensor.count and not tally.nonzero:
            report.all_zero.append(tensor.name)
        if progress is not None:
            progress(tensor.nbytes)
    if not report.elements:
        problem = f"none of {len(archive.tensors)} tensors has numbers that can be judged"
        raise NothingJudgedError(problem, file=archive.path)
    return report


def _require_merges(archive: Archive) -> None:
    """Raise MissingMergesError where a tokenizer lacks what no loader goes without."""
    metadata = archive.metadata
    try:
        if archive.format == "apr":
            metadata = gguf_texts(metadata) | gguf_tokenizer(metadata)[0]
        if archive.format != "safetensors":
            require_key(metadata)
        elif archive.path is not None:
            folder = archive.path if archive.path.is_dir() else archive.path.parent
            if kind_of(folder / "tokenizer.json") is not NOTHING:
                content = from_json({"tokenizer.json": read_beside(folder, "tokenizer.json")}, "tokenizer.json")
                model = table(content.get("model"), "model")
                if model.get("type") == "BPE":
                    require_merges(model)
    except (MissingMergesError, PointerError) as error:
        raise error.at(file=archive.path) from None
    except RosettaError:  # what else may be wrong with a tokenizer is for those to say who read it
        return


def _is_importance(archive: Archive) -> bool:
    """Whether the file is one of llama-imatrix: sums of squares, and how many they are of."""
    kind = archive.metadata.get("general.type")
    return isinstance(kind, Value) and isinstance(kind.data, str) and kind.data == "imatrix"


def _largest_mean(tensor: Tensor, *, sums: bool) -> float:
    if sums and tensor.name.endswith(_SUMS):
        return math.inf
    is_gain = len(tensor.shape) == 1 and "norm" in tensor.name
    return LARGEST_MEAN_OF_GAINS if is_gain else LARGEST_MEAN


def _tally(tensor: Tensor) -> _Tally:
    tally = _Tally()
    with np.errstate(all="ignore"):
        for start, values in _numbers(tensor):
            tally.add(start, values)
    return tally


def _numbers(tensor: Tensor) -> Iterator[tuple[int, NDArray[Any]]]:
    """The values in the width they are stored in: a double beyond float32's range is not an Inf."""
    if tensor.type.name != "F64":
        yield from value_chunks(tensor)
        return
    for start, stop in tensor.spans():
        yield start // 8, tensor.source.read(start, stop).view("<f8")
        tensor.source.release(start, stop)


def _findings(tensor: Tensor, tally: _Tally, largest: float) -> Iterator[Finding]:
    for problem, count in tally.counts.items():
        if count:
            first = tally.first[problem]
            offset = None if tensor.offset is None else tensor.offset + byte_of(tensor, first)
            detail = f"{count:,} of {tensor.count:,} elements"
            yield Finding(tensor.name, problem, count, detail, index_of(tensor, first), tensor.file, offset)
    mean = tally.total / tally.finite if tally.finite else 0.0
    if abs(mean) > largest and tensor.type.name not in _INTEGERS:
        detail = f"the mean is {mean:.6g}, beyond {largest:g}"
        yield Finding(tensor.name, "explosion", tally.finite, detail, None, tensor.file, tensor.offset)
