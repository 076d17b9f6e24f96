"""A disk that is full, read-only or limited at any moment: a declared error that names the file, and all is as it was."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosetta_ref.convert import convert
from rosetta_ref.formats.output import WriteError
from tests.support.kill_points import (
    DEMO,
    SCENARIOS,
    Scenario,
    Workshop,
    content,
    counted,
    deprived,
    in_child,
    run,
    steps_of,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each failure is that of a forked process")
#: Steps that need room, or a disk that may be written to.
_NEED_ROOM = ("create", "mkdir", "write", "fsync", "rename", "replace", "renameat2", "link", "symlink")
_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def require_named(action: Callable[[], object], place: Path) -> bool:
    """Whether the disk was full, or failed otherwise; then the error has named a file of the conversion."""
    try:
        action()
    except WriteError as error:
        raised = error
    else:
        return False
    assert raised.file is not None, f"no file is named: {raised}"
    assert Path(raised.file).is_relative_to(place), raised
    assert ".partial" not in str(raised.file), raised
    return True


def fail_everywhere(workshop: Workshop, scenario: Scenario, quick: Path, every: int) -> None:
    folder = Path(tempfile.mkdtemp(dir=quick))
    workshop.prepare(scenario, folder / "start")
    shutil.copytree(folder / "start", folder / "whole", symlinks=True)
    steps = steps_of(workshop, scenario, folder / "whole")
    old, new = content(folder / "start"), content(folder / "whole")
    chosen = [index for index, name in enumerate(steps, 1) if name in _NEED_ROOM][::-every]
    for last in chosen:
        place = folder / "now"
        shutil.copytree(folder / "start", place, symlinks=True)
        error = _ERRORS[last % len(_ERRORS)]

        def fails(place: Path = place, last: int = last, error: int = error) -> None:
            with deprived(scenario), counted([], last, error):
                require_named(lambda: run(workshop, scenario, place), place)

        where = f"{scenario.name}, step {last} of {len(steps)}, {steps[last - 1]}: {os.strerror(error)}"
        assert in_child(fails) == 0, where
        after = content(place)
        allowed = [old, new]
        if scenario.apart:  # it may be missing where it could not be written any more
            allowed.append({name: said for name, said in new.items() if name != scenario.sums})
        assert after in allowed, (where, sorted(n for n in after.keys() | old.keys() if after.get(n) != old.get(n)))
        shutil.rmtree(place)
    assert chosen


@pytest.mark.parametrize("scenario", SCENARIOS[1::4], ids=lambda scenario: scenario.name)
def test_a_step_that_fails(workshop: Workshop, scenario: Scenario, quick: Path) -> None:
    fail_everywhere(workshop, scenario, quick, 15)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_step_that_fails(workshop: Workshop, scenario: Scenario, quick: Path) -> None:
    fail_everywhere(workshop, scenario, quick, 1)


# --- a disk that really is full


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(small_disk: Path, workshop: Workshop, target: str, step: int) -> None:
    """Convert onto disks of ever more pages of 4 kB, until the target fits."""
    source = workshop.folder / ("new.apr" if target.endswith(".gguf") else "new.gguf")
    page, size, failed = 4096, 4096, 0
    while True:
        subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
        if not require_named(
            lambda: convert(source, small_disk / target, checksums=small_disk / "sums.json"), small_disk
        ):
            break
        failed += 1
        assert list(small_disk.iterdir()) == []
        size += step * page
    assert failed
    assert sorted(path.name for path in small_disk.iterdir() if path.suffix == ".partial") == []
    for path in small_disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("target", ["m.gguf", "m.apr", "hf", "m.safetensors"])
def test_disks_of_some_sizes(small_disk: Path, workshop: Workshop, target: str) -> None:
    fill(small_disk, workshop, target, 83)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["m.gguf", "m.apr", "hf", "m.safetensors"])
def test_disks_of_every_size(small_disk: Path, workshop: Workshop, target: str) -> None:
    fill(small_disk, workshop, target, 1)


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(WriteError, match=r"m\.apr.*too large"):
            convert(DEMO, tmp_path / "m.apr")

    assert in_child(limited) == 0
    assert list(tmp_path.iterdir()) == []
