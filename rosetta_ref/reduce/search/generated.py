"""Looking for a failure where nobody has a file that shows one: inputs are drawn until a converter gets one wrong.

A function in this process is called often and cheaply, so Hypothesis makes the failing input small itself, with the same failure.
Of a command line every call is a process, and shrinking would cost hundreds: the first failing input is left to the reducer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr.tables import CODES
from rosetta_ref.formats.registry import CONTAINERS, of
from rosetta_ref.formats.safetensors.table import DTYPES
from rosetta_ref.gate.converter.entry import Converter, Entry
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.candidate import Oracle, Seen, same_failure
from rosetta_ref.reduce.search.failure import Fingerprint, Wanted
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.naming import chosen, named
from rosetta_ref.reduce.search.search import digest

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Types that can be judged, by format: those that have a place in it, and a decoder.
_HELD = {name: [one for one, kind in TYPES.items() if row.holds(kind)] for name, row in CONTAINERS.items()}
#: In the order of the formats' own tables: the first is the simplest one.
_HELD |= {"apr": list(CODES), "safetensors": [name for name in DTYPES if name in TYPES]}
#: Metadata that is tried: an alignment that is not the default, which only GGUF has.
_KEYS: dict[str, list[dict[str, Value]]] = {
    "gguf": [{"general.alignment": Value.scalar(Kind.U32, 64)}],
}  # fmt: skip
_STEM = "generated"


class NoHypothesisError(RosettaError):
    """Inputs are drawn with Hypothesis, which is the extra `strategies`."""


class NoInputsError(RosettaError):
    """A converter takes some type that the source's format holds."""


def generate(
    converter: Converter,
    source_format: str,
    target_format: str,
    *,
    examples: int = 200,
    seed: int = 0,
    asked: str | None = None,
    gate: str | None = None,
    work: Workspace,
) -> Path | None:
    """A file in `work` that this converter gets wrong and the reference right; None where `examples` of them show nothing.

    `asked` is the type that a quantiser is asked for, `gate` the one whose failures count: all, without one. A refusal counts where
    the entry claims types and says whether it takes tensors that are no model; elsewhere nobody knows what is a mistake. Of a
    converter in this process it is the smallest file. Raises NoHypothesisError, and NoInputsError for an entry that takes nothing.
    """
    try:
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis.errors import NoSuchExample
    except ImportError:
        raise NoHypothesisError("Hypothesis is not installed", hint="pip install 'rosetta-ref[strategies]'") from None
    phases = [Phase.generate, Phase.shrink] if _is_in_process(converter.entry) else [Phase.generate]
    trial = _Trial(Oracle(converter, target_format, work, asked), source_format, work.path, gate)
    drawn = _drawn(converter.entry, source_format, asked)
    for strategy, share in zip(drawn, _shares(examples, len(drawn)), strict=True):
        chosen_by = settings(
            max_examples=share, phases=phases, database=None, deadline=None, derandomize=False, print_blob=False,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        with suppress(NoSuchExample):
            return trial.written(find(strategy, trial.fails, settings=chosen_by, random=Random(seed)), work.path)
    return None


def _is_in_process(entry: Entry) -> bool:
    return entry.command is None and not entry.isolated and not entry.environment


def _shares(examples: int, kinds: int) -> list[int]:
    """How many of each kind: most of what is first, since models are large."""
    return [examples] if kinds == 1 else [max(examples * 3 // 4, 1), max(examples // 4, 1)]


# What is drawn


def _drawn(entry: Entry, source_format: str, asked: str | None) -> list[SearchStrategy[Archive]]:
    """A few tensors, and whole models, of types that the converter may be given: whichever it takes, one after the other.

    What a tensor shows is never found in a model first, from which no shrinking leads back to the tensor alone.
    """
    from rosetta_ref.strategies.models import ARCHITECTURES, MATRIX_TYPES, models

    taken = [name for name in _HELD[source_format] if _is_taken(entry, name, asked)]
    matrices = [name for name in MATRIX_TYPES if name in taken]
    architectures = [name for name in ARCHITECTURES if entry.architectures is None or name in entry.architectures]
    found: list[SearchStrategy[Archive]] = []
    if taken and not entry.whole_models:
        found.append(_few_tensors(source_format, taken))
    if "F32" in matrices and architectures:  # norms are of no other type
        found.append(models(types=matrices, architectures=architectures))
    if not found:
        raise NoInputsError(f"{entry.name} takes nothing that can be drawn in {source_format}")
    return found


def _few_tensors(source_format: str, types: Sequence[str]) -> SearchStrategy[Archive]:
    """One to three. Each place may be empty, so that one step of shrinking empties it; of a list it would take several at once."""
    from hypothesis import strategies as st

    from rosetta_ref.strategies.quantised import tensors

    def made(places: Sequence[Tensor | None], keys: dict[str, Value]) -> Archive:
        held = [tensor for tensor in places if tensor is not None]
        return Archive(source_format, dict(keys), {tensor.name: tensor for tensor in held})

    place = st.none() | tensors(*types, max_dims=3, max_blocks=2)
    words = st.sampled_from([{}, *_KEYS.get(source_format, [])])
    return st.builds(made, st.tuples(place, place, place), words).filter(lambda archive: bool(archive.tensors))


def _is_taken(entry: Entry, name: str, asked: str | None) -> bool:
    """Whether a converter may be given that type: nothing is quantised twice."""
    kind = TYPES[name]
    if kind.decode is None or (asked is not None and not kind.is_scalar):
        return False
    return entry.types is None or name in entry.types


# What comes of it


@dataclass
class _Trial:
    """Writes, converts and judges what is drawn. The first failure is the one that others have to be."""

    oracle: Oracle
    source_format: str
    folder: Path
    gate: str | None = None
    fingerprint: Fingerprint | None = None
    _known: dict[str, bool] = field(default_factory=dict)

    def fails(self, archive: Archive) -> bool:
        """Whether the converter gets it wrong, in the way that is looked for; what the reference does not convert is no example."""
        from hypothesis import reject

        with Workspace(self.folder) as work:  # nothing is kept of any
            self.oracle.work = work
            try:
                source = self.written(archive, work.path)
            except RosettaError:
                reject()
            key = digest(source)
            if key not in self._known:
                if not self.oracle.reference_is_right(source):
                    reject()
                self._known[key] = self._is_wanted(self.oracle.look(source))
            return self._known[key]

    def _is_wanted(self, seen: Seen) -> bool:
        if self.fingerprint is not None:
            return same_failure(self.fingerprint, seen, asked=self.oracle.asked)
        finding = chosen(
            [one for one in seen.findings if one.kind != "refused" or self._has_promised()], Wanted(self.gate)
        )
        if finding is None:
            return False
        self.fingerprint = named(finding, seen, asked=self.oracle.asked)
        return True

    def _has_promised(self) -> bool:
        """Whether it says enough of itself for a refusal to be wrong."""
        entry = self.oracle.converter.entry
        return entry.types is not None and entry.whole_models is not None and not entry.loses

    def written(self, archive: Archive, folder: Path) -> Path:
        """The input, written into a folder. A model in another format than GGUF is what the reference makes of it."""
        directory = of(self.source_format).has_companions and self.oracle.converter.entry.safetensors_as == "directory"
        if archive.format == self.source_format:
            given = Given(archive.format, (archive.tensors,), archive.metadata, directory=directory)
            return inputs.write(given, folder, _STEM)
        model = inputs.write(Given(archive.format, (archive.tensors,), archive.metadata), folder, "model")
        source = folder / (_STEM if directory else f"{_STEM}.{self.source_format}")
        convert(model, source, keep_blocks=False, extra_keys=False)
        return source
