"""Failures of the gate under pytest: named and reduced, as those of the command line are, each in the process that found it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rosetta_ref.gate.run.engine import Failure
    from rosetta_ref.gate.run.request import Request
    from rosetta_ref.reduce.reproductions import Explained


def pytest_configure(config: pytest.Config) -> None:
    """One for all failures of a process: what looks alike is reduced once."""
    config.pluginmanager.register(_Failures(), "rosetta-reproductions")


class _Failures:
    def __init__(self) -> None:
        self._explained: Explained | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_rosetta_gate_failed(self, failures: Sequence[Failure], request: Request) -> None:
        """Name them, and leave a folder for those that are unexpected."""
        from rosetta_ref.reduce.reproductions import Explained

        self._explained = self._explained or Explained.of(request)
        self._explained(failures)
