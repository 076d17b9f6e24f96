"""Ctrl-C and a request to end: nobody waits for the time limit of a converter, none runs on, nothing temporary stays."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rosetta_ref.gate.converter import command as commands
from rosetta_ref.gate.converter.entry import CRASHED

ROOT = Path(__file__).parents[1]
HANGS = """
import os, sys, time
open(os.path.join(os.environ["BEGUN"], str(os.getpid())), "w").close()
time.sleep(600)
"""


def takes_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so does whatever that starts: the tests, say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def waited(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "command", [("gate", "--jobs=2", "--no-reproductions"), ("shrink", "MODEL", "--to=safetensors", "--jobs=2")]
)
def test_all_ends_at_once(command: tuple[str, ...], number: signal.Signals, code: int, tmp_path: Path) -> None:
    for name in ("begun", "temporary", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "hangs.py").write_text(HANGS)
    called = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'hangs.py'))} {{src}} {{dst}}"
    model = str(ROOT / "rosetta_ref" / "demo" / "tiny.gguf")
    words = [model if word == "MODEL" else word for word in command]
    environment = {
        **os.environ,
        "BEGUN": str(tmp_path / "begun"),
        "TMPDIR": str(tmp_path / "temporary"),
        "PYTHONPATH": str(ROOT),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "rosetta_ref.cli", *words, "--converter", called, "--time-limit=300"],
        cwd=tmp_path / "out", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=takes_interrupts,
    )  # fmt: skip
    try:
        wanted = 2 if command[0] == "gate" else 1
        assert waited(lambda: len(list((tmp_path / "begun").iterdir())) >= wanted)
        child.send_signal(number)
        said = child.communicate(timeout=20)
    finally:
        child.kill()
    assert child.returncode == code, said
    begun = [int(path.name) for path in (tmp_path / "begun").iterdir()]
    assert waited(lambda: not any(map(runs, begun)), 5)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_one_that_began_while_all_was_being_ended_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question whether it may begin, and being known, everybody else may have been killed."""

    class Late:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 1

    monkeypatch.setattr(commands, "ENDING", Late())
    began = time.monotonic()
    done = commands.run([sys.executable, "-c", "import time; time.sleep(60)"], time_limit=50)
    assert (done.outcome, done.detail) == (CRASHED, "killed by SIGKILL")
    assert time.monotonic() - began < 30
