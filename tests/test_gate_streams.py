"""Functions that are called at once: each has its own words, and the gate still prints."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rosetta_ref.cli import main
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.converter.function import Function

# Two calls meet in each function: whoever comes first goes last.
SOURCE = """
    import io, pathlib, sys, threading, time
    from threading import Barrier
    MEET = Barrier(2, timeout=20)

    def speaks(src, dst):
        MEET.wait()
        print("from", src.name)
        print("error of", src.name, file=sys.stderr)
        MEET.wait()

    def replaces(src, dst):
        before = sys.stdout
        if src.name == "1":
            sys.stdout = io.StringIO()
            MEET.wait(); MEET.wait()
            sys.stdout = before
            MEET.wait()
        else:
            MEET.wait()
            before, sys.stdout = sys.stdout, io.StringIO()
            MEET.wait(); MEET.wait()
            sys.stdout = before

    def bytewise(src, dst):
        MEET.wait()
        sys.stdout.reconfigure(line_buffering=True)
        sys.stdout.buffer.write(src.name.encode(sys.stdout.encoding))

    CALLS = []
    def empty(src, dst):
        CALLS.append(src)
        time.sleep(0.02 * (1 + len(CALLS) % 3))
        pathlib.Path(dst).write_bytes(b"")

    def waits(src, dst):
        (src / "begun").touch()
        while not (src / "said").exists():
            time.sleep(0.005)

    def helped(src, dst):
        helper = threading.Thread(target=print, args=("a helper",))
        helper.start()
        helper.join()
"""


@pytest.fixture
def both(tmp_path: Path) -> Callable[[str], list[Run]]:
    (tmp_path / "speaking.py").write_text(textwrap.dedent(SOURCE))

    def called(name: str) -> list[Run]:
        function = Function(Entry(name, function=f"{tmp_path / 'speaking.py'}:{name}", time_limit=30.0))
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda number: function.convert(tmp_path / str(number), tmp_path / "out"), (1, 2)))

    return called


def test_each_call_has_its_own_words(both: Callable[[str], list[Run]]) -> None:
    before = (sys.stdout, sys.stderr)
    assert [run.stdout for run in both("speaks")] == ["from 1\n", "from 2\n"]
    assert (sys.stdout, sys.stderr) == before


def test_what_calls_put_there_themselves_does_not_stay(both: Callable[[str], list[Run]]) -> None:
    """Each gives back what it found, and the second one found that of the first."""
    before = sys.stdout
    assert [run.outcome for run in both("replaces")] == [ACCEPTED, ACCEPTED]
    assert sys.stdout is before


def test_bytes_may_be_printed(both: Callable[[str], list[Run]]) -> None:
    assert [run.stdout for run in both("bytewise")] == ["1", "2"]


def test_what_helpers_print_is_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "speaking.py").write_text(textwrap.dedent(SOURCE))
    run = Function(Entry("f", function=f"{tmp_path / 'speaking.py'}:helped")).convert(tmp_path, tmp_path)
    assert (run.stdout, capsys.readouterr().out) == ("a helper\n", "")


def test_others_print_while_a_call_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A thread that was there before, as the one that shows how far the gate is."""
    (tmp_path / "speaking.py").write_text(textwrap.dedent(SOURCE))
    waits = Function(Entry("f", function=f"{tmp_path / 'speaking.py'}:waits", time_limit=20.0))

    def says() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.005)
        print("so far", flush=True)
        (tmp_path / "said").touch()

    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(says)
        assert waits.convert(tmp_path, tmp_path / "out").outcome == ACCEPTED
        said.result()
    assert capsys.readouterr().out == "so far\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_gate_prints_with_a_function(jobs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The case from outside: two jobs print what one prints."""
    (tmp_path / "speaking.py").write_text(textwrap.dedent(SOURCE))
    name = f"{tmp_path / 'speaking.py'}:empty"
    words = [
        "gate",
        "--converter",
        name,
        "--pairs=G-S",
        "--no-reproductions",
        f"--jobs={jobs}",
        "--case=F-CONV-DET-001/*",
    ]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "F-CONV-DET-001" in said
    assert "reproduce: rosetta-ref gate" in said
