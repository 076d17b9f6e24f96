"""What the suite's own properties show of a broken codec or converter is the smallest example that there is.

The tests of `tests/properties` are run as they are on codecs and converters that are wrong on purpose, under a Hypothesis profile
that shrinks; what they drew in the last failing example is compared with what a person would have written down. An example of
which a part could be left out makes its reader look for the bug in that part.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

from rosetta_ref.archive import Archive
from rosetta_ref.convert.check import MismatchError
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.member import replaced, unchecked, writing_each, writing_of
from tests.quality.breaking import made_of, mutated
from tests.quality.mutations import MUTATIONS

PROPERTIES = Path(__file__).parents[1] / "properties"

settings.register_profile(
    "smallest", derandomize=True, database=None, deadline=None, max_examples=200, phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
)  # fmt: skip


# --- how the smallest example is got ------------------------------------------------------------------------------------


@functools.cache
def _module(name: str) -> ModuleType:
    """A module of properties once more, its Hypothesis tests under the profile above."""
    spec = importlib.util.spec_from_file_location(f"smallest.{name}", PROPERTIES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = settings.get_current_profile_name()
    settings.load_profile("smallest")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HYPOTHESIS_PROFILE", "smallest")
            spec.loader.exec_module(module)
    finally:
        settings.load_profile(before)
    return module


class _Drawing:
    """A `data` of `st.data()` that keeps what is drawn."""

    def __init__(self, data: Any, drawn: list[Any]) -> None:
        self._data, self._drawn = data, drawn

    def draw(self, strategy: Any, label: Any = None) -> Any:
        self._drawn.append(self._data.draw(strategy, label))
        return self._drawn[-1]


def smallest(module: str, test: str, broken: AbstractContextManager[None], **parameters: Any) -> list[Any]:
    """What that property draws in its smallest failing example; an error where it does not fail by an assertion."""
    property_ = getattr(_module(module), test)
    inner = property_.hypothesis.inner_test
    failed: list[list[Any]] = []

    @functools.wraps(inner)
    def recording(*args: Any, **named: Any) -> None:
        drawn = []
        for name, value in named.items():
            if type(value).__name__ == "DataObject":
                named[name] = _Drawing(value, drawn)
            elif name not in parameters:
                drawn.append(value)
        try:
            inner(*args, **named)
        except (AssertionError, MismatchError):
            failed.append(drawn)
            raise

    property_.hypothesis.inner_test = recording
    try:
        with broken, redirect_stdout(StringIO()), pytest.raises((AssertionError, MismatchError)):
            property_(**parameters)
    finally:
        property_.hypothesis.inner_test = inner
    return failed[-1]


@contextmanager
def mutation(name: str, what: str, folder: Path) -> Iterator[None]:
    """The type with a mistake of `mutations` in its codec."""
    found = next(one for one in MUTATIONS if name in one.types.split() and one.what == what)
    broken = made_of(name, found.place.partition(":")[0], mutated(found), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TYPES, name, broken)
        patch.setenv("ROSETTA_FAST", "0")
        yield


def parts(block: np.ndarray) -> dict[str, Any]:
    """The fields of one block that are not zero: floats as numbers, others as bit numbers."""
    assert block.size == 1, f"{block.size} blocks"
    found = {}
    for name in block.dtype.names:
        field = block[name]
        if field.dtype.kind == "f":
            value = field.reshape(-1).astype(np.float64)
            if value.any() or np.signbit(value).any():
                found[name] = value.tolist() if value.size > 1 else float(value[0])
        elif field.any():
            found[name] = np.flatnonzero(
                np.unpackbits(np.ascontiguousarray(field).view(np.uint8), bitorder="little")
            ).tolist()
    return found
