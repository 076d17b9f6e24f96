"""Hypothesis profiles, and what every test may ask for."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Generator, Iterator

# Test processes share the cores: products of small matrices in threads would mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests start hundreds of processes. Where no bytecode may be written beside the sources, each of them would compile everything
# anew, which takes longer than what it is started for: there it goes to the cache, where the next run finds it. Workers inherit it.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    cache = os.environ.get("ROSETTA_CACHE", os.path.expanduser("~/.cache/rosetta-ref"))
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(cache, "bytecode")
    sys.dont_write_bytecode = False

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from rosetta_ref.quant import fast
from tests.support import scratch

# Programs that tests start are those of this environment, also where it is not activated: `ENV/bin/python -m pytest`.
_PROGRAMS = os.path.dirname(sys.executable)
if _PROGRAMS not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join(filter(None, (_PROGRAMS, os.environ.get("PATH"))))

_IN_MEMORY = scratch.move()

#: `pytest -n auto --converter ...` runs the gate on a converter of yours.
pytest_plugins = ["rosetta_ref.gate.plugin.plugin"]

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, suppress_health_check=_SLOW_IS_FINE, max_examples=50)
# The same examples on every run, so that a red build is red for everybody.
settings.register_profile(
    "ci", parent=settings.get_profile("default"), derandomize=True, max_examples=30, database=None
)
settings.register_profile(
    "nightly",
    parent=settings.get_profile("default"),
    max_examples=2000,
    print_blob=True,
    database=DirectoryBasedExampleDatabase(os.environ.get("ROSETTA_EXAMPLES", ".hypothesis/examples")),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


def pytest_sessionfinish(exitstatus: int) -> None:
    """After a failure the temporary files stay until the next run, for a look."""
    if _IN_MEMORY is not None and exitstatus == 0:
        atexit.register(shutil.rmtree, _IN_MEMORY, ignore_errors=True)


@pytest.fixture(scope="module", params=["numpy", "numba"])
def decoded_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways to decode: a module that uses this runs twice, the second time for the types that have a kernel."""
    yield from _by(request.param)


@pytest.fixture(scope="module", params=["numpy", "numba"])
def encoded_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways to encode, likewise."""
    yield from _by(request.param)


def _by(way: str) -> Iterator[str]:
    if way == "numba" and not fast.available():
        pytest.skip("numba is not installed: it is the extra `fast`")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSETTA_FAST", "1" if way == "numba" else "0")
        yield way


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Under xdist whoever is done takes half of what another has left, if nobody said otherwise; the gate comes first and does.

    `--dist load` keeps tests that are next to each other apart, so each process makes what a module shares, and the long ones
    at the end leave all but one waiting.
    """
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"
    return (yield)


def _is_a_repetition(item: pytest.Item) -> bool:
    """A second run, with numba, of a test that is not about a type with a kernel."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    ways = {"decoded_by": fast.NAMES, "encoded_by": fast.ENCODED}
    return any(params.get(way) == "numba" and params.get("name") not in names for way, names in ways.items())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    repeated = [item for item in items if _is_a_repetition(item)]
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if not _is_a_repetition(item)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The mistakes of tests/quality/mutations.py and who saw them: the counts always, the list with -v."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    found = [
        (report, text)
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == "mutation"
    ]
    if not found:
        return
    terminalreporter.section("codecs broken on purpose")
    if terminalreporter.config.get_verbosity() > 0:
        for line in sorted(text for _, text in found):
            terminalreporter.line(line)
    seen = sum(report.passed for report, _ in found)
    both = sum(report.passed and ": none, " not in text for report, text in found)
    types = len({text.partition(",")[0] for _, text in found})
    terminalreporter.line(
        f"{len(found)} mutations of {types} types: {both} seen by a property and by a differential test, "
        f"{seen - both} by the one side that has a judge, {len(found) - seen} by nobody"
    )
