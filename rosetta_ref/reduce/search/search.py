"""The candidates that were tried, what they cost, and the smallest one so far, which is always on disk."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.entry import REFUSED
from rosetta_ref.gate.converter.interrupt import at_once
from rosetta_ref.reduce.search import input as inputs
from rosetta_ref.reduce.search.candidate import Oracle, Seen, same_failure
from rosetta_ref.reduce.search.claims import is_claimed
from rosetta_ref.reduce.search.failure import Fingerprint
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.naming import chosen, named

#: Bytes of an input that is quickly explained.
_SMALL = 1 << 20
#: What an input is in parts: `Given`, or for one that no reader takes an `Envelope`.
Parts = TypeVar("Parts", bound="OfTensors")
#: Called with the search whenever a candidate was tried.
OnProgress = Callable[[Any], None]
#: Called with the best input's path whenever there is a better one.
Kept = Callable[[Path, Seen], None]
#: Whatever a pass takes.
Searched = TypeVar("Searched")


class OfTensors(Protocol):
    """What an input in parts has in any case."""

    @property
    def tensors(self) -> Sized:
        """As many as there are."""


class SpentError(RosettaError):
    """A search stays within its budget of calls and seconds."""


def tried(step: Callable[[Searched], bool], search: Searched) -> bool:
    """A pass, which finds nothing where it breaks: whatever is odd in a foreign input may break what takes it apart."""
    try:
        return step(search)
    except (RosettaError, OSError):
        raise
    except Exception:  # noqa: BLE001 - the best input so far stays what it is
        return False


@dataclass(frozen=True)
class Budget:
    """How much a search may cost: calls of the converter, seconds."""

    calls: int = 400
    seconds: float = 600.0


@dataclass
class Hunt(Generic[Parts]):
    """Looks for smaller inputs with the same failure. `best` is the smallest so far, `seen` what came of it."""

    oracle: Oracle
    fingerprint: Fingerprint
    best: Parts
    seen: Seen
    budget: Budget = field(default_factory=Budget)
    any_failure: bool = False
    jobs: int = 1
    on_progress: OnProgress = lambda search: None
    kept: Kept = lambda path, seen: None
    tried: int = 0
    #: How bad the failure has to stay: a smaller input that shows a smaller error is another story.
    least: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _known: set[str] = field(default_factory=set)
    _count: int = 0

    @property
    def nbytes(self) -> int:
        """The size of the smallest input so far."""
        return inputs.size_of(self.seen.source)

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> str:
        """Size, calls and time, for whoever waits."""
        tensors = len(self.best.tensors)
        return f"{self.nbytes:,} bytes, {tensors:,} tensors, {self.oracle.calls} conversions, {self.seconds:.0f} s"

    def first(self, candidates: Iterable[Parts]) -> bool:
        """Take the first candidate that fails in the same way. Raises SpentError when the budget is spent."""
        coming = iter(candidates)
        while batch := list(islice(coming, self.jobs)):
            for made in self._all(batch):
                self.tried += 1
                if made is not None:
                    self._forget_best()
                    self.best, self.seen = made
                    self._follow()
                    self.kept(self.seen.source, self.seen)
                self.on_progress(self)
                if made is not None:
                    return True
        return False

    def _follow(self) -> None:
        """Where any failure will do, that of the best input is the one to be told of."""
        if self.any_failure and not same_failure(self.fingerprint, self.seen, asked=self.oracle.asked):
            finding = chosen(self.seen.findings)
            assert finding is not None, "an input without any is not taken"
            self.fingerprint = named(finding, self.seen, asked=self.oracle.asked)

    def _all(self, batch: list[Parts]) -> Iterator[tuple[Parts, Seen] | None]:
        """The conversions of a batch at once; its reference and its diagnosis one by one, since they have this process alone."""
        written = [self._written(candidate) for candidate in batch]
        sources = [source for source in written if source is not None]
        self._afford(len(sources))
        if len(sources) > 1:
            with at_once(len(sources)) as pool:
                made = iter(list(pool.map(self.oracle.look, sources)))
        else:
            made = map(self.oracle.look, sources)
        for source in written:
            seen = next(made) if source is not None else None
            if source is not None and seen is not None and self._is_same(seen):
                yield self._read(source), seen
            else:
                self._forget(seen)
                yield None

    def _forget(self, seen: Seen | None) -> None:
        """Remove the files of a candidate: those of a large model would fill a disk."""
        if seen is not None:
            seen.forget()
            with suppress(RosettaError):  # what is no file any more
                for file in inputs.files(seen.source):
                    file.unlink(missing_ok=True)

    def _forget_best(self) -> None:
        """What was the best is none any more; but the file that all began with is somebody's."""
        self.seen.forget()
        if seen_in(self.seen.source, self.oracle.work.path):
            self._forget(self.seen)

    def _afford(self, calls: int) -> None:
        if self.oracle.calls + calls > self.budget.calls:
            raise SpentError(f"{self.oracle.calls} calls of the converter are spent")
        if self.seconds > self.budget.seconds:
            raise SpentError(f"{self.budget.seconds:g} seconds are spent")

    def _written(self, candidate: Parts) -> Path | None:
        """The file of a candidate; None for one that was tried before, that no writer writes, or that the reference gets wrong."""
        self._count += 1
        folder = self.oracle.work.path / f"candidate-{self._count:05}"
        try:
            source = self._write(candidate, folder)
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - a proposal that is no file: of a foreign input anything may be odd
            shutil.rmtree(folder, ignore_errors=True)
            return None
        key = digest(source)
        fresh = key not in self._known
        self._known.add(key)
        if fresh and self._counts(source):
            return source
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def _is_same(self, seen: Seen) -> bool:
        if self.any_failure:
            return bool(seen.findings)
        return same_failure(self.fingerprint, seen, asked=self.oracle.asked, least=self.least)

    def _counts(self, source: Path) -> bool:
        """Whether a failure of it would count."""
        return self.oracle.reference_is_right(source)

    def _write(self, candidate: Parts, folder: Path) -> Path:
        raise NotImplementedError

    def _read(self, source: Path) -> Parts:
        raise NotImplementedError


@dataclass
class Search(Hunt[Given]):
    """Among the inputs that the readers take."""

    #: Layers that are not enough to show it: what was found out once is not asked again of every smaller model.
    too_few_layers: int = 0
    #: The bytes with which a window of a tensor was tried, by its size and that of the tensor.
    windows: dict[tuple[int, ...], set[int]] = field(default_factory=dict)
    #: Called once, as soon as the best input is small: what it is called is found out before it loses what tells.
    small: Callable[[], None] | None = None

    def first(self, candidates: Iterable[Given]) -> bool:
        """As of any hunt; calls `small` when it is."""
        changed = super().first(candidates)
        if changed and self.small is not None and self.nbytes <= _SMALL:
            told, self.small = self.small, None
            told()
        return changed

    def _written(self, candidate: Given) -> Path | None:
        """None as well for what the entry does not claim to take, where a refusal is the failure: that may be refused."""
        if self.fingerprint.kind == REFUSED and not is_claimed(candidate, self.oracle.converter.entry):
            return None
        return super()._written(candidate)

    def _write(self, candidate: Given, folder: Path) -> Path:
        return inputs.write(candidate, folder)

    def _read(self, source: Path) -> Given:
        return inputs.read(source)


def seen_in(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder."""
    return path.resolve().is_relative_to(folder.resolve())


def digest(path: Path) -> str:
    """The same for inputs that are the same, byte for byte."""
    found = hashlib.sha256()
    for file in inputs.files(path):
        found.update(file.name.encode() + b"\0" + file.stat().st_size.to_bytes(8, "little"))
        with file.open("rb") as data:
            found.update(hashlib.file_digest(data, "sha256").digest())
    return found.hexdigest()
