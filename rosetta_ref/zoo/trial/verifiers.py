"""Verifiers that are wrong on purpose: each says that a conversion is right which is not, or the other way round.

A verifier gets what a file should hold and what it does hold. Each of these shipped in some form; the gate must not be one of them,
so each is shown to let a named member through.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import json_of
from rosetta_ref.quant.block import Floats
from rosetta_ref.zoo.members.lanes import neighbours

_LOG = logging.getLogger(__name__)
Corroborates = Callable[[Archive, Archive], bool]

#: The least likeness that counts as the same.
_LIKE = 0.999


@dataclass(frozen=True)
class Verifier:
    """A verifier and its record.

    lets_through: the member whose wrong output it calls right; None for one that calls right outputs wrong.
    says: whether it calls the second archive right, given the first.
    """

    id: str
    origin: str
    does: str
    lets_through: str | None
    says: Corroborates
    link: str | None = None

    def corroborates(self, expected: Archive, actual: Archive) -> bool:
        """What it says; no, where it breaks: a tensor that it does not ask for may be missing, or have any shape."""
        try:
            with np.errstate(all="ignore"):
                return bool(self.says(expected, actual))
        except Exception:  # noqa: BLE001 - a verdict about the verifier, whatever breaks it
            _LOG.exception("%s broke", self.id)
            return False


def _nothing_compared(expected: Archive, actual: Archive) -> bool:
    """What cannot be compared is left out, and all of none are equal."""
    comparable = [
        (one, actual.tensors[name])
        for name, one in expected.tensors.items()
        if name in actual.tensors and one.shape == actual.tensors[name].shape
    ]
    return all(np.array_equal(one.values(), other.values(), equal_nan=True) for one, other in comparable)


def _failed_but_zero(expected: Archive, actual: Archive) -> bool:
    """The comparison is a good one, and says what it found; nobody asks."""
    for name, one in expected.tensors.items():
        if not _equal(one, actual.tensors.get(name)):
            _LOG.error("FAILED %s", name)
    return True


def _equal(one: Tensor, other: Tensor | None) -> bool:
    return (
        other is not None and one.shape == other.shape and np.array_equal(one.values(), other.values(), equal_nan=True)
    )


def _by_position(expected: Archive, actual: Archive) -> bool:
    """The first tensor beside the first, the second beside the second, by statistics that the files do not state."""
    pairs = zip(expected.tensors.values(), actual.tensors.values(), strict=False)
    return all(_stated(expected, one) == _stated(actual, other) for one, other in pairs)


def _stated(archive: Archive, one: Tensor) -> object:
    return archive.metadata.get(f"{one.name}.statistics")


def _statistics(expected: Archive, actual: Archive) -> bool:
    """Mean, deviation, smallest and largest element."""
    return expected.tensors.keys() == actual.tensors.keys() and all(
        np.allclose(_four(one.values()), _four(actual.tensors[name].values()), equal_nan=True)
        for name, one in expected.tensors.items()
    )


def _four(values: Floats) -> tuple[float, float, float, float]:
    if not values.size:
        return (math.nan,) * 4
    return float(values.mean()), float(values.std()), float(values.min()), float(values.max())


def _shapes(expected: Archive, actual: Archive) -> bool:
    return {name: one.shape for name, one in expected.tensors.items()} == {
        name: one.shape for name, one in actual.tensors.items()
    }


def _own_decoder(expected: Archive, actual: Archive) -> bool:
    """Blocks of Q4_0 are decoded by whoever encoded them: neighbours in a byte on both sides."""
    return all(
        np.allclose(one.values(), _neighbourly(actual.tensors[name]), atol=0.5)
        for name, one in expected.tensors.items()
    )


def _neighbourly(one: Tensor) -> Floats:
    if one.type.name != "Q4_0":
        return one.values()
    blocks = one.type.blocks(one.data)
    codes = neighbours(blocks["qs"]).astype(np.float32) - np.float32(8)
    made: Floats = (codes * blocks["d"].astype(np.float32)[:, None]).reshape(one.shape)
    return made


def _bare_nan(expected: Archive, actual: Archive) -> bool:
    """The largest difference goes into a report, which is no JSON where that is NaN; one that cannot be read has no failures."""
    with np.errstate(invalid="ignore"):
        worst = {
            name: float(np.max(np.abs(one.values() - actual.tensors[name].values())))
            for name, one in expected.tensors.items()
        }
    report = json.dumps({"worst": worst})
    try:
        read = json_of(report, what="the report")
    except RosettaError:
        return True
    return all(difference == 0 for difference in read["worst"].values())


def _cosine(expected: Archive, actual: Archive) -> bool:
    """The angle between two tensors, which those that are all zero do not have."""
    return all(
        _likeness(one.values(), actual.tensors[name].values()) >= _LIKE for name, one in expected.tensors.items()
    )


def _likeness(one: Floats, other: Floats) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.vdot(one, other)) / lengths if lengths else math.nan


_ALL = (
    Verifier(
        "nothing-compared-all-match", "aprender #621, #1350, #2382",
        "zero tensors compared: all match, exit 0",
        "shape-not-reversed", _nothing_compared, "https://github.com/paiml/aprender/issues/621",
    ),
    Verifier(
        "prints-failed-exits-zero", "aprender #2382, #3913",
        "the verdict never reaches the exit code",
        "quant-bytes-read-as-f32", _failed_but_zero, "https://github.com/paiml/aprender/issues/2382",
    ),
    Verifier(
        "compares-by-position", "aprender rosetta verify",
        "pairs tensors by index and compares statistics that are absent",
        "gate-and-up-exchanged", _by_position,
    ),
    Verifier(
        "statistics-only", "aprender validate-stats",
        "mean, deviation, smallest and largest cannot see a permutation",
        "k-permuted-with-wrong-head-count", _statistics,
    ),
    Verifier(
        "shape-only", "aprender diff-tensors",
        "equal shapes are called equal tensors",
        "q5_0-interleaved", _shapes,
    ),
    Verifier(
        "same-flaw-on-both-sides", "surogate #162",
        "the reference shares the code under test",
        "q4_0-packs-neighbours", _own_decoder,
    ),
    Verifier(
        "bare-inf-in-json", "aprender #2382",
        "the report is not JSON where a difference is NaN or Inf, and counts for nothing",
        "zero-block-gives-nan-scale", _bare_nan, "https://github.com/paiml/aprender/issues/2382",
    ),
    Verifier(
        "cries-wolf", "llama.cpp #22565, ollama #15908",
        "the cosine of an all-zero tensor is NaN, which is no likeness: it is called corrupted",
        None, _cosine, "https://github.com/ggml-org/llama.cpp/issues/22565",
    ),
)  # fmt: skip

#: Every bad verifier by its id.
VERIFIERS: dict[str, Verifier] = {verifier.id: verifier for verifier in _ALL}
