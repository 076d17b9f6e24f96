"""The conversions of a run, each done once, whoever asks: files, how the converter ended, and what is wrong with its files.

Chains often come to the same bytes: G-S-G and G-A-S-G do where both ways to S give the same file. Such a file is converted once
for all of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.converter.entry import ACCEPTED, NOT_CALLED, Converter, Run
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.pairs import letters
from rosetta_ref.gate.run.patience import Patience
from rosetta_ref.gate.run.workspace import Flaw, Left, Place, Snapshot, Workspace


@dataclass(frozen=True)
class Conversion:
    """A path that was walked, as far as it went: the input of its last leg, what the converter made of it, and how."""

    source: Path
    target: Path | None
    run: Run
    flaw: Flaw | None = None
    #: Which leg is meant, from 1; and whether its input was the converter's own output.
    leg: int = 1
    #: Where it was written, and what was there when the run had ended.
    place: Place | None = None
    left: Left = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether there is an output to look at."""
        return self.target is not None

    def changed(self) -> Flaw | None:
        """What was written after the run had ended, if anything."""
        return self.place.changed(self.left) if self.place is not None else None

    @property
    def own(self) -> bool:
        """Whether the input of the last leg was written by the converter itself."""
        return self.leg > 1


@dataclass
class Faces:
    """The files of samples, each written when it is first asked for. Sessions of several converters may share them."""

    samples: Mapping[str, Sample]
    folder: Path
    safetensors_as: str = "directory"
    _written: dict[tuple[str, str], Snapshot] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, sample: str, kind: str) -> Snapshot:
        """A sample in a format, as it was before any converter saw it."""
        with self._lock:
            key = (sample, kind)
            if key not in self._written:
                given = self.samples[sample]
                # Far from the other faces: some converters look for a tokenizer in the folders around.
                folder = self.folder / f"{sample}-{kind}" / "given"
                path = given.path or write.write(given, kind, folder, self.safetensors_as)
                self._written[key] = Snapshot(path)
            return self._written[key]


@dataclass
class Session:
    """One converter and its samples in a workspace. Safe to ask from several threads."""

    converter: Converter
    samples: Mapping[str, Sample]
    work: Workspace
    faces: Faces | None = None
    calls: int = 0
    #: By path; and what came of the converter's own files, by what stands in them.
    _done: dict[Hashable, Future[Conversion]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.faces is None:
            self.faces = Faces(self.samples, self.work.path / "faces", self.converter.entry.safetensors_as)
        self._patience = Patience(self.converter.entry.time_limit)

    def face(self, sample: str, kind: str) -> Path:
        """The file or directory of a sample in a format."""
        return self._snapshot(sample, kind).path

    def _snapshot(self, sample: str, kind: str) -> Snapshot:
        assert self.faces is not None
        return self.faces.of(sample, kind)

    def conversion(
        self, sample: str, steps: Sequence[str], *, type: str | None = None, turn: int = 0  # noqa: A002
    ) -> Conversion:  # fmt: skip
        """What came of a path; `turn` 1 is the same once more."""
        path = tuple(steps)
        return self._once((sample, path, type, turn), lambda: self._walk(sample, path, type, turn))

    def _once(self, key: Hashable, make: Callable[[], Conversion]) -> Conversion:
        """What was made under that key. Whoever asks first makes it, and the others wait for it."""
        with self._lock:
            waiting = self._done.get(key)
            if waiting is None:
                mine: Future[Conversion] = Future()
                self._done[key] = mine
        if waiting is not None:
            return waiting.result()
        try:
            mine.set_result(make())
        except BaseException as error:
            mine.set_exception(error)
            raise
        return mine.result()

    def legs(self, sample: str, steps: Sequence[str]) -> list[Conversion]:
        """The conversions of a path one by one, as far as it went."""
        walked = (self.conversion(sample, steps[:end]) for end in range(2, len(steps) + 1))
        return [done for number, done in enumerate(walked, start=1) if done.leg == number]

    def convert_file(self, source: Path, target: str, calls: str = "files") -> Conversion:
        """What comes of any file; it is converted anew each time. `calls` is what such calls are called in messages."""
        return self._convert(Snapshot(source), target, None, 1, calls)

    def _walk(self, sample: str, steps: tuple[str, ...], kind: str | None, turn: int) -> Conversion:
        if len(steps) == 2:
            return self._convert(self._snapshot(sample, steps[0]), steps[1], kind, 1, letters(steps))
        before = self.conversion(sample, steps[:-1], type=kind, turn=turn)
        if before.target is None:
            return before
        assert before.place is not None
        try:
            source, held = Snapshot(before.target), before.place.content()
        except (OSError, RosettaError) as error:  # somebody wrote to it meanwhile
            return replace(before, target=None, flaw=Flaw("changed-after-exit", f"it can be read no more: {error}"))
        before.place.read_on.set()
        leg = len(steps) - 1
        # Files beside the target count, too: a converter may look there for a tokenizer.
        calls = letters(steps[-2:])
        done = self._once((held, steps[-1], kind, turn), lambda: self._convert(source, steps[-1], kind, leg, calls))
        return replace(done, source=source.path, leg=leg)

    def _called(self, source: Path, dst: Path, kind: str | None, calls: str) -> Run:
        """One call of the converter, if others like it have ended, and for as long as they took."""
        calls += f" as {kind}" if kind is not None else ""
        seconds = self._patience.seconds(calls)
        if seconds is None:
            return self._patience.not_made(calls)
        converter = self.converter
        within = getattr(converter, "within", None) if seconds < self._patience.limit else None
        if within is not None:
            converter = within(seconds)
        return self._patience.note(calls, seconds, converter.convert(source, dst, type=kind), cut=within is not None)

    def _convert(self, source: Snapshot, target: str, kind: str | None, leg: int, calls: str) -> Conversion:
        with self._lock:
            self.calls += 1
            place = self.work.place(target, safetensors_as=self.converter.entry.safetensors_as)
        run = self._called(source.path, place.dst, kind, calls)
        written = place.left()
        if run.outcome != ACCEPTED:
            # What is left of a call that was cut short is not the converter's fault.
            left = place.dst if run.outcome != NOT_CALLED and os.path.lexists(place.dst) else None
            flaw = Flaw("left-behind", f"{left.name} is left, and the run {run.outcome}") if left else source.flaw()
            return Conversion(source.path, None, run, flaw, leg)
        may_be_equal = kind is not None and sniff(source.path) == target
        flaw = place.flaw(source, may_be_equal=may_be_equal) or source.flaw() or place.changed(written)
        return Conversion(source.path, None if flaw is not None else place.dst, run, flaw, leg, place, written)
