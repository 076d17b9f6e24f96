"""Python functions as converters, in this process and in one of their own."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from rosetta_ref.gate.converter import clock
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Converter, Entry, Run
from rosetta_ref.gate.converter.function import Function, FunctionError, isolated

SOURCE = """
    import pathlib, sys, time
    from rosetta_ref.errors import RosettaError

    class TooOld(Exception): pass
    class SafetensorError(Exception): pass
    class Odd(RosettaError): pass

    def copy(src, dst): pathlib.Path(dst).write_bytes(pathlib.Path(src).read_bytes())
    def typed(src, dst, type=None): print("type", type)
    def rosetta(src, dst): raise Odd("odd")
    def value(src, dst): raise UnicodeError("bad text")
    def absent(src, dst): open(src + "x" if isinstance(src, str) else str(src) + "x")
    def tensors(src, dst): raise SafetensorError("header")
    def old(src, dst): raise TooOld("version 1")
    def key(src, dst): raise KeyError("blk.0")
    def deep(src, dst): deep(src, dst)
    def hang(src, dst):
        print("begun", flush=True)
        time.sleep(4)
    def naps(src, dst): time.sleep(0.1)
    def leaves(src, dst): sys.exit(0)
    def leaves_3(src, dst): sys.exit(3)
    def leaves_saying(src, dst): sys.exit("no such file")
    def noisy(src, dst):
        print("out")
        print("Traceback (most recent call last):", file=sys.stderr)
    number = 3
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("functions") / "foreign_converter.py"
    path.write_text(textwrap.dedent(SOURCE))
    return path


@pytest.fixture(params=[Function, isolated], ids=["in process", "isolated"])
def call(request: pytest.FixtureRequest, module: Path, tmp_path: Path) -> Callable[..., Run]:
    def made(name: str, *, type: str | None = None, **fields: object) -> Run:  # noqa: A002
        (tmp_path / "in.gguf").write_bytes(b"GGUF")
        converter: Converter = request.param(Entry(name, function=f"{module}:{name}", **fields))  # type: ignore[arg-type]
        return converter.convert(tmp_path / "in.gguf", tmp_path / "out.apr", type=type)

    return made


def test_it_accepts_by_returning(call: Callable[..., Run], tmp_path: Path) -> None:
    assert call("copy").outcome == ACCEPTED
    assert (tmp_path / "out.apr").read_bytes() == b"GGUF"


def test_a_type_is_asked_for_by_name(call: Callable[..., Run]) -> None:
    assert call("typed", type="Q4_0").stdout == "type Q4_0\n"
    assert call("typed").stdout == "type None\n"


@pytest.mark.parametrize("name", ["rosetta", "value", "absent", "tensors", "leaves_saying"])
def test_deliberate_exceptions_refuse(call: Callable[..., Run], name: str) -> None:
    run = call(name)
    assert (run.outcome, bool(run.detail)) == (REFUSED, True)


@pytest.mark.parametrize("name", ["key", "old", "deep"])
def test_other_exceptions_are_crashes_with_their_traceback(call: Callable[..., Run], name: str) -> None:
    run = call(name)
    assert run.outcome == CRASHED
    assert "Traceback (most recent call last)" in run.stderr
    assert "foreign_converter.py" in run.stderr


def test_the_entry_names_more_exceptions_that_refuse(call: Callable[..., Run]) -> None:
    assert call("old", refuse_exceptions=("TooOld",)).outcome == REFUSED


def test_leaving_is_an_exit_code(call: Callable[..., Run]) -> None:
    outcomes = [call("leaves").outcome, call("leaves_3").outcome, call("leaves_3", refuse_exit=(3,)).outcome]
    assert outcomes == [ACCEPTED, CRASHED, REFUSED]


def test_what_it_prints_is_kept_and_judged(call: Callable[..., Run]) -> None:
    run = call("noisy")
    assert (run.outcome, run.stdout) == (CRASHED, "out\n")


def test_silence_is_a_timeout(call: Callable[..., Run]) -> None:
    began = time.monotonic()
    run = call("hang", time_limit=2.0)
    assert (run.outcome, run.stdout) == (TIMEOUT, "begun\n")
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("make", [Function, isolated], ids=["in process", "isolated"])
def test_a_pause_is_no_timeout(
    make: Callable[[Entry], Converter], module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for a hundred seconds, right after it began to wait."""
    converter = make(Entry("naps", function=f"{module}:naps", time_limit=10.0))
    stopped = chain([0.0], repeat(100.0))
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: time.perf_counter() + next(stopped)))
    assert converter.convert(Path("a"), Path("b")).outcome == ACCEPTED
    assert next(stopped) == 100, "the clock was not read"


def test_the_streams_are_given_back(module: Path) -> None:
    before = (sys.stdout, sys.stderr)
    Function(Entry("noisy", function=f"{module}:noisy")).convert(Path("a"), Path("b"))
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("make", [Function, isolated])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:convert", "No module named"),
        ("json:no_such", "no attribute"),
        ("json:decoder", "is no function"),
    ],
)
def test_what_cannot_be_called_is_said_at_once(make: Callable[[Entry], Converter], name: str, message: str) -> None:
    with pytest.raises(FunctionError) as error:
        make(Entry("x", function=name))
    assert message in str(error.value)


def test_modules_of_the_current_folder_are_found(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(module.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "foreign_converter", raising=False)
    for make in (Function, isolated):
        run = make(Entry("x", function="foreign_converter:key")).convert(Path("a"), Path("b"))
        assert (run.outcome, "blk.0" in run.stderr) == (CRASHED, True)
