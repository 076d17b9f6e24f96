"""Looking for a failure where nobody has a file that shows one: inputs are drawn until a converter gets one wrong.

A function in this process is called often and cheaply, so Hypothesis makes the failing input small itself, keeping the same failure.
Of a command line every call is a process, and shrinking would cost hundreds: the first failing input is left to the reducer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr.tables import CODES
from rosetta_ref.formats.safetensors.table import DTYPES
from rosetta_ref.gate.converter import Converter, Entry
from rosetta_ref.gate.workspace import Workspace
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce import given as inputs
from rosetta_ref.reduce.fingerprint import Fingerprint
from rosetta_ref.reduce.given import Given
from rosetta_ref.reduce.oracle import Oracle, Seen, same_failure
from rosetta_ref.reduce.search import digest
from rosetta_ref.reduce.shrink import chosen, named

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

#: Types that can be judged, by format: those that have a place in it, and a decoder.
_HELD = {
    "gguf": [name for name, kind in TYPES.items() if kind.id is not None],
    "apr": list(CODES),
    "safetensors": [name for name in DTYPES if name in TYPES],
}
#: An alignment that is not the default; only GGUF has one.
_ALIGNMENT = {"general.alignment": Value.scalar(Kind.U32, 64)}
_STEM = "generated"


class NoHypothesisError(RosettaError):
    """Inputs are drawn with Hypothesis, which is the extra `strategies`."""


def generate(
    converter: Converter,
    source_format: str,
    target_format: str,
    *,
    examples: int = 200,
    seed: int = 0,
    asked: str | None = None,
    work: Workspace,
) -> Path | None:
    """A file in `work` that this converter gets wrong and the reference right; None where `examples` of them show nothing.

    What it is asked for is `asked`, a type, for a quantiser. A refusal counts where the entry claims types and says whether it takes
    tensors that are no model; elsewhere nobody knows what is a mistake. A converter that is a function leaves the smallest file.
    Raises NoHypothesisError.
    """
    try:
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis.errors import NoSuchExample
    except ImportError:
        raise NoHypothesisError("Hypothesis is not installed", hint="pip install 'rosetta-ref[strategies]'") from None
    phases = [Phase.generate] if converter.entry.command is not None else [Phase.generate, Phase.shrink]
    chosen_by = settings(
        max_examples=examples, phases=phases, database=None, deadline=None, derandomize=False, print_blob=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    trial = _Trial(Oracle(converter, target_format, work, asked), source_format, work.path)
    try:
        found = find(
            _archives(converter.entry, source_format, asked), trial.fails, settings=chosen_by, random=Random(seed)
        )
    except NoSuchExample:
        return None
    return trial.written(found, work.path)


# What is drawn


def _archives(entry: Entry, source_format: str, asked: str | None) -> SearchStrategy[Archive]:
    """A few tensors, or whole models, of types that the converter may be given; simplest first."""
    from hypothesis import strategies as st

    from rosetta_ref.strategies.models import ARCHITECTURES, MATRIX_TYPES, models
    from rosetta_ref.strategies.quantised import tensors

    taken = [name for name in _HELD[source_format] if _is_taken(entry, name, asked)]
    matrices = [name for name in MATRIX_TYPES if name in taken]
    architectures = [name for name in ARCHITECTURES if entry.architectures is None or name in entry.architectures]
    found: list[SearchStrategy[Archive]] = []
    if taken and not entry.whole_models:
        several = st.lists(tensors(*taken, max_dims=3, max_blocks=2), min_size=1, max_size=3, unique_by=_name_of)
        words = st.sampled_from([{}, _ALIGNMENT] if source_format == "gguf" else [{}])
        found.append(st.builds(lambda held, keys: _archive(source_format, held, keys), several, words))
    if "F32" in matrices and architectures:  # norms are of no other type
        found.append(models(types=matrices, architectures=architectures))
    if not found:
        raise NoInputsError(f"none of the types that it takes stands in {source_format}")
    return st.one_of(found)


class NoInputsError(RosettaError):
    """A converter takes some type that the source's format holds."""


def _is_taken(entry: Entry, name: str, asked: str | None) -> bool:
    """Whether a converter may be given that type: nothing is quantised twice."""
    kind = TYPES[name]
    if kind.decode is None or (asked is not None and not kind.is_scalar):
        return False
    return entry.types is None or name in entry.types


def _archive(source_format: str, held: Sequence[Tensor], keys: dict[str, Value]) -> Archive:
    return Archive(source_format, dict(keys), {tensor.name: tensor for tensor in held})


def _name_of(tensor: Tensor) -> str:
    return tensor.name


# What comes of it


@dataclass
class _Trial:
    """Writes, converts and judges what is drawn. The first failure is the one that others have to be."""

    oracle: Oracle
    source_format: str
    folder: Path
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
        finding = chosen([one for one in seen.findings if one.kind != "refused" or self._has_promised()])
        if finding is None:
            return False
        self.fingerprint = named(Fingerprint.of(finding), finding, seen, asked=self.oracle.asked)
        return True

    def _has_promised(self) -> bool:
        """Whether it says enough of itself for a refusal to be wrong."""
        entry = self.oracle.converter.entry
        return entry.types is not None and entry.whole_models is not None and not entry.loses

    def written(self, archive: Archive, folder: Path) -> Path:
        """The input, written into a folder. A model in another format than GGUF is what the reference makes of it."""
        directory = self.source_format == "safetensors" and self.oracle.converter.entry.safetensors_as == "directory"
        if archive.format == self.source_format:
            given = Given(archive.format, (archive.tensors,), archive.metadata, directory=directory)
            return inputs.write(given, folder, _STEM)
        model = inputs.write(Given(archive.format, (archive.tensors,), archive.metadata), folder, "model")
        source = folder / (_STEM if directory else f"{_STEM}.{self.source_format}")
        convert(model, source, keep_blocks=False, extra_keys=False)
        return source
