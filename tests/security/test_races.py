"""Three conversions onto one target at once, with the folder of a killed one between them: each is done whole or refused as busy.

Every round begins with a run that is killed at a step of chance; in every other round one of the three is killed, too. What is left
is the whole model of one that ended well, and the next run finds nothing in its way.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from rosetta_ref.convert import convert, staging
from rosetta_ref.convert.source import read_source
from rosetta_ref.convert.staging import BusyTargetError, place_of, staged
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.formats.detect import sniff
from tests.support.kill_points import DEMO, KILLED, content, counted, in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a forked process")
TARGETS = ("hf", "m.safetensors", "m.apr")
BUSY = 3
#: Steps of a conversion: a kill comes at one of them.
STEPS = 170


class Track:
    """Three sources, and what each of them becomes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = [folder / f"{number}.gguf" for number in range(3)]
        for number, path in enumerate(self.sources):
            with gguf.read(DEMO) as model:
                for key, value in list(model.metadata.items()):
                    if key.endswith(".context_length"):
                        model.metadata[key] = type(value).scalar(value.kind, 100 + number)
                gguf.write(model, path)
        self.whole: dict[str, list[dict[str, str]]] = {}
        for target in TARGETS:
            self.whole[target] = []
            for source in self.sources:
                place = Path(tempfile.mkdtemp(dir=folder))
                convert(source, place / target)
                self.whole[target].append(content(place))

    def start(self, number: int, target: Path, go: int, last: int | None) -> int:
        """A process that converts a source once a byte comes through the pipe, and is killed at a step; its id."""
        child = os.fork()
        if child:
            return child
        code = 9
        try:
            os.read(go, 1)
            with counted([], last) if last is not None else nullcontext():
                convert(self.sources[number], target, force=True)
            code = 0
        except BusyTargetError:
            code = BUSY
        except BaseException:  # noqa: BLE001 - the child ends here
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def race(self, target: Path, last: int | None) -> list[int]:
        """The exit codes of three at once; the last one is killed at a step where one is given."""
        go, start = os.pipe()
        runs = [self.start(number, target, go, last if number == 2 else None) for number in range(3)]
        os.write(start, b"123")
        codes = [os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]) for run in runs]
        os.close(go)
        os.close(start)
        return codes


@pytest.fixture(scope="module")
def track() -> Iterator[Track]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rosetta-races-", dir=memory))
    yield Track(folder)
    shutil.rmtree(folder)


def run_rounds(track: Track, rounds: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, ended = random.Random(seed), Counter[int]()
    for number in range(rounds):
        name = TARGETS[number % len(TARGETS)]
        place = Path(tempfile.mkdtemp(dir=track.folder))
        whole = track.whole[name]
        if chance.random() < 0.5:
            convert(track.sources[0], place / name)
        step = chance.randrange(1, STEPS)

        def stale(place: Path = place, name: str = name, step: int = step) -> None:
            with counted([], step):
                convert(track.sources[1], place / name, force=True)

        assert in_child(stale) in (0, KILLED)
        codes = track.race(place / name, chance.randrange(1, STEPS) if number % 2 else None)
        ended.update(codes)
        where = f"seed {seed}, round {number}, {name}, step {step}: {codes}"
        assert set(codes) <= {0, BUSY, KILLED}, where
        if KILLED not in codes:
            assert content(place) in [state for state, code in zip(whole, codes, strict=True) if code == 0], where
        convert(track.sources[0], place / name, force=True)
        assert content(place) == whole[0], where
        shutil.rmtree(place)
    print(f"{rounds} rounds: {ended[0]} done, {ended[BUSY]} busy, {ended[KILLED]} killed")
    assert ended[0]


def test_a_few_rounds(track: Track) -> None:
    run_rounds(track, 5)


@pytest.mark.slow
def test_two_hundred_rounds(track: Track) -> None:
    run_rounds(track, 200)


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_sees_one_model_or_an_error(track: Track, name: str) -> None:
    """Two models take turns at one place: whoever reads gets either, whole, or is told that it is being replaced."""
    place = Path(tempfile.mkdtemp(dir=track.folder))
    convert(track.sources[0], place / name)
    writer = os.fork()
    if not writer:
        code = 9
        try:
            for turn in range(8):
                convert(track.sources[1 - turn % 2], place / name, force=True)
            code = 0
        finally:
            os._exit(code)
    seen = Counter[str]()
    while not (done := os.waitpid(writer, os.WNOHANG))[0]:
        try:
            with read_source(place / name, sniff(place / name)) as source:
                length = source.model.metadata["llama.context_length"].plain()
                assert not [note for note in source.notes if "changed" in note], source.notes
                seen[str(length)] += 1
        except (RosettaError, FileNotFoundError) as error:
            seen[type(error).__name__] += 1
    assert done[1] == 0
    print(name, dict(seen))
    assert seen.keys() <= {"100", "101", "HalfPublishedError", "ReplacedWhileReadError", "FileNotFoundError"}, seen
    assert "100" in seen or "101" in seen
    shutil.rmtree(place)


def test_the_lock_is_held_until_the_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one run sweeps what a killed one left, or removes its own, another one is refused."""
    target = tmp_path / "m.apr"
    seen = []
    honest = staging.disk.empty

    def empty(folder: Path) -> None:
        with pytest.raises(BusyTargetError):
            staging._locked(folder)
        seen.append(folder)
        honest(folder)

    monkeypatch.setattr(staging.disk, "empty", empty)
    (tmp_path / ".m.apr.partial").mkdir()
    convert(DEMO, target)
    assert len(seen) == 4  # `recover` and `staged`, each before and after
    assert content(tmp_path).keys() == {"m.apr"}


def test_a_folder_that_was_made_anew_is_locked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the folder and having its lock another run removed it, and a third one made its own."""
    place = place_of(tmp_path / "m.apr", directory=False)
    honest, times = os.open, []

    def late(path: object, *arguments: int, **named: int) -> int:
        descriptor = honest(path, *arguments, **named)  # type: ignore[arg-type]
        if path == place.folder and not times:
            times.append(1)
            place.folder.rmdir()
            place.folder.mkdir(0o700)
        return descriptor

    monkeypatch.setattr(os, "open", late)
    with staged(place):
        assert times
        with pytest.raises(BusyTargetError):
            staging._locked(place.folder)
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_is_no_race(tmp_path: Path) -> None:
    """Runs onto different targets of one folder do not wait for each other."""
    with staged(place_of(tmp_path / "a.safetensors", directory=False)):
        convert(DEMO, tmp_path / "b.safetensors")
    with pytest.raises(RosettaError):
        convert(DEMO, tmp_path / "b.safetensors")
