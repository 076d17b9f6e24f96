"""The gate in pytest: `pytest --pyargs rosetta_ref.gate -n auto --converter ...`, one test for each case, under the case's own id.

The options are those of `rosetta-ref gate`; what is no field of an entry has `gate-` in front (`--gate-output`). An expected
failure is an xfail, strict unless its entry says otherwise; a skip that is expected is skipped, any other fails. Under xdist the
cases of one sample go to one process, so that none of its conversions is run twice, and the results come together at the end for
the verdict that the command line gives: exit 1 also for an expectation that matches no case, 2 for a run that judged nothing.

`rosetta_ref_pytest` loads this where the gate is asked for. What runs is in `run`.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn

import pytest

from rosetta_ref.errors import SHOWN, RosettaError, safe_line
from rosetta_ref.gate.converter import named
from rosetta_ref.gate.judge.question import Case, to_json
from rosetta_ref.gate.plugin.run import SENT, Collected, Gate
from rosetta_ref.gate.run import request
from rosetta_ref.gate.run.engine import Failure
from rosetta_ref.gate.run.request import Request
from rosetta_ref_pytest import asks_for_the_gate

_FOLDER = Path(__file__).parents[1]
_MODULE = _FOLDER / "test_gate.py"
_GATE = pytest.StashKey[Gate]()
_COLLECTED = pytest.StashKey[Collected]()


# Options


class _Flags:
    """Takes the flags that an argparse parser would get, to declare them to pytest under names that nobody else has.

    Their values stay texts until the command line's own parser reads them: a mistake is said in the same words.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._flags: list[tuple[str, dict[str, Any]]] = []

    def add_argument(self, flag: str, /, **attributes: Any) -> None:
        """Keep it. Its destination is a name that nobody else takes."""
        name = flag.removeprefix("--")
        kept = {key: value for key, value in attributes.items() if key not in ("type", "default")}
        self._flags.append((name, {**kept, "dest": f"rosetta_{name.replace('-', '_')}"}))

    def declare(self, group: pytest.OptionGroup) -> None:
        """Give them to pytest."""
        for name, attributes in self._flags:
            group.addoption(f"--{self._prefix}{name}", default=None, **attributes)

    def words(self, config: pytest.Config) -> Iterator[str]:
        """What was given, as a command line."""
        for name, attributes in self._flags:
            value = getattr(config.option, attributes["dest"], None)
            if isinstance(value, bool):
                yield f"--{'' if value else 'no-'}{name}"
            elif value is not None:
                yield from (f"--{name}={each}" for each in (value if isinstance(value, list) else [value]))


def _flags() -> tuple[_Flags, _Flags]:
    of_entry, of_run = _Flags(), _Flags("gate-")
    named.add_flags(of_entry)
    request.add_flags(of_run)
    return of_entry, of_run


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise pytest.UsageError(message)


def _request(config: pytest.Config) -> Request:
    parser = _Parser("pytest")
    named.add_flags(parser)
    request.add_flags(parser)
    try:
        return Request.of(parser.parse_args([word for flags in _flags() for word in flags.words(config)]))
    except (RosettaError, OSError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags of `rosetta-ref gate`."""
    group = parser.getgroup("rosetta-gate", "rosetta-ref: a gate for converters")
    for flags in _flags():
        flags.declare(group)


# Hooks


class _Hooks:
    """What others may do about failures: name them, reduce them."""

    @staticmethod
    def pytest_rosetta_gate_failed(failures: Sequence[Failure], request: Request) -> None:
        """Called with the conversions that a case found wrong, while their files are there. Results may be given more."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare it."""
    pluginmanager.add_hookspecs(_Hooks)


def _is_wanted(config: pytest.Config) -> bool:
    """Whether this is a run of the gate: it is named, or a converter is."""
    return config.getoption("--converter") is not None or asks_for_the_gate(config.args)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Under xdist the cases of a sample go to one process, if nobody said otherwise: `-n` alone would mean `--dist load`."""
    option = config.option
    if _is_wanted(config) and getattr(option, "numprocesses", None) and option.dist == "no":
        option.dist = "loadgroup"
    return (yield)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By samples. Marks would not do: xdist 3.8 writes them into the ids of tests, and pytest 9.2 lets nobody change those."""
    if _COLLECTED not in config.stash or config.option.dist != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    try:
        groups = _planned(config).groups
    except pytest.Collector.CollectError:  # the processes will say it
        return None

    def group(_: object, nodeid: str) -> str:
        return groups.get(nodeid.partition("[")[2].rpartition("]")[0], nodeid)

    return type("BySample", (LoadScopeScheduling,), {"_split_scope": group})(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Read what is asked. A usage error ends pytest with 4."""
    if not _is_wanted(config) or config.option.help or config.option.version:
        return
    if config.args_source is not pytest.Config.ArgsSource.ARGS:  # a converter, and no word of what to run
        config.args = [str(_FOLDER)]
    collected = config.stash[_COLLECTED] = Collected(_request(config))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(collected, "rosetta-gate")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Whom it is about."""
    if _COLLECTED not in config.stash:
        return None
    asked = config.stash[_COLLECTED].asked
    name = safe_line(asked.converter.entry.name, SHOWN)
    return f"rosetta-ref gate: {name}, seed {asked.seed}, profile {asked.profile}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of this folder a run of the gate has one module, whatever else is collected (doctests, say); other runs have not that one."""
    if collection_path.suffix == ".py" and collection_path.is_relative_to(_FOLDER):
        return True if (collection_path == _MODULE) is not (_COLLECTED in config.stash) else None
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The module, where the project's own tests are in files of another name: pytest itself would not take it."""
    usual = any(fnmatch(file_path.name, pattern) for pattern in parent.config.getini("python_files"))
    if file_path == _MODULE and not usual and not parent.session.isinitpath(file_path):
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case."""
    if "gate_case" in metafunc.fixturenames:
        metafunc.parametrize("gate_case", list(_planned(metafunc.config).parameters()))


def _planned(config: pytest.Config) -> Gate:
    """The cases, planned when they are first asked for."""
    if _GATE not in config.stash:
        try:
            asked = config.stash[_COLLECTED].asked
            hook = config.hook.pytest_rosetta_gate_failed
            gate = config.stash[_GATE] = Gate(asked, lambda failures: hook(failures=failures, request=asked))
        except (RosettaError, OSError) as error:
            raise pytest.Collector.CollectError(str(error)) from None
        config.add_cleanup(gate.close)
    return config.stash[_GATE]


@pytest.fixture
def gate(pytestconfig: pytest.Config) -> Gate:
    """The run that a case belongs to."""
    return pytestconfig.stash[_GATE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, pytest.TestReport]:
    """Send a result along with its report: so it comes from any process."""
    report: pytest.TestReport = yield
    case = _case_of(item)
    if case is not None and call.when == "call" and (result := item.config.stash[_GATE].results.get(case)) is not None:
        setattr(report, SENT, to_json(result))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say what there was to do; and where all comes together, give the verdict."""
    config = session.config
    if _COLLECTED not in config.stash or config.option.collectonly:
        return
    collected = config.stash[_COLLECTED]
    planned = list(config.stash[_GATE].cases) if _GATE in config.stash else []
    selected = [case for case in map(_case_of, session.items) if case is not None]
    if hasattr(config, "workeroutput"):
        config.workeroutput[SENT] = (planned, selected)
        return
    collected.add(planned, selected)
    collected.finish(session)


def _case_of(item: pytest.Item) -> str | None:
    """The id of its case, if it is a test of the gate."""
    parameters: Mapping[str, Any] = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    case = parameters.get("gate_case")
    return case.id if isinstance(case, Case) else None
