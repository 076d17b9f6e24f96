"""Where thousands of conversions are killed, or fail: in memory, from sources that are made once for each file of tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kill_points import Workshop


@pytest.fixture(scope="module")
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of runs wait for the disk otherwise."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rosetta-steps-", dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def workshop(quick: Path) -> Workshop:
    (quick / "sources").mkdir()
    return Workshop(quick / "sources")
