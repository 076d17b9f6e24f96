"""What a converter leaves running is ended, however it went away; a late write is seen; the disk that it uses is limited."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rosetta_ref.convert import convert as reference
from rosetta_ref.gate.converter import memory
from rosetta_ref.gate.converter.command import CommandLine, Disk, run
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, Entry, Run
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.run.engine import run as gate

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to whoever adopts them")

#: Ways to leave a process behind, which writes its number and waits.
DAEMONS = {
    "a child": "if os.fork() == 0: stay()",
    "a group of its own": "if os.fork() == 0: os.setpgid(0, 0); stay()",
    "a session of its own": "if os.fork() == 0: os.setsid(); stay()",
    "forked twice": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: stay()\n    os._exit(0)\nos.wait()",
    "forked thrice, deaf": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        "            for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n            stay()\n    os._exit(0)\nos.wait()"
    ),
    "without its environment": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        number()\n"
        "        os.execve('/bin/sleep', ['sleep', '60'], {})\n    os._exit(0)\nos.wait()"
    ),
    "stopped": "if os.fork() == 0:\n    os.setsid(); number(); os.kill(os.getpid(), signal.SIGSTOP)\n    os._exit(0)",
    "one that goes on forking": (
        "if os.fork() == 0:\n    os.setsid(); number()\n    end = time.time() + 60\n    while time.time() < end:\n"
        "        if os.fork(): os._exit(0)\n        time.sleep(0.01)\n    os._exit(0)"
    ),
    "one that forks as fast as it can": (
        "if os.fork() == 0:\n    os.setsid(); number()\n    end = time.time() + 60\n    while time.time() < end:\n"
        "        if os.fork(): os._exit(0)\n    os._exit(0)"
    ),
}  # fmt: skip
START = """
import os, signal, sys, time
def number():
    with open(sys.argv[1], "w") as file: file.write(str(os.getpid()))
def stay():
    number(); time.sleep(60); os._exit(0)
"""
WAIT = "\nwhile not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.005)\n"


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def named(word: str) -> list[int]:
    """Processes with that word in their command line or among their open files' names."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if word.encode() in (entry / "cmdline").read_bytes() and lives(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@linux
@pytest.mark.parametrize("how", DAEMONS)
@pytest.mark.parametrize("code", [0, 1])
def test_a_daemon_is_ended(how: str, code: int, tmp_path: Path) -> None:
    script = tmp_path / "leaves.py"
    script.write_text(START + DAEMONS[how] + WAIT + f"sys.exit({code})")
    began = time.monotonic()
    done = run([sys.executable, "-S", str(script), str(tmp_path / "number")], time_limit=20)
    assert (done.exit_code, time.monotonic() - began < 30) == (code, True)
    assert not lives(int((tmp_path / "number").read_text()))
    assert named(str(script)) == []


@linux
def test_a_daemon_of_another_call_lives_on(tmp_path: Path) -> None:
    """Several converters run at once, and each may have helpers as long as it runs."""
    script = tmp_path / "helped.py"
    script.write_text(START + DAEMONS["forked twice"] + WAIT + "time.sleep(1.5)\nprint(open(sys.argv[1]).read())")
    made: list[Run] = []
    helped = threading.Thread(
        target=lambda: made.append(run([sys.executable, "-S", str(script), str(tmp_path / "number")], time_limit=20))
    )
    helped.start()
    while not (tmp_path / "number").exists() or not (tmp_path / "number").read_text():
        time.sleep(0.01)
    for _ in range(5):
        assert run(["true"], time_limit=5).accepted
    assert lives(int((tmp_path / "number").read_text()))
    helped.join()
    assert made[0].accepted
    assert not lives(int((tmp_path / "number").read_text()))


@linux
def test_who_is_nobodys_child_is_left_alone() -> None:
    bystander = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        assert run([sys.executable, "-S", "-c", "import os; os.fork() or os.setsid()"], time_limit=5).accepted
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@linux
def test_a_gate_that_is_killed_leaves_no_converter(tmp_path: Path) -> None:
    script = tmp_path / "stays.py"
    script.write_text(START + "stay()")
    words = f"from rosetta_ref.gate.converter.command import run; run({[sys.executable, '-S', str(script), str(tmp_path / 'n')]}, time_limit=50)"
    child = subprocess.Popen([sys.executable, "-c", words], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        end = time.monotonic() + 20
        while not ((tmp_path / "n").exists() and (tmp_path / "n").read_text()) and time.monotonic() < end:
            time.sleep(0.01)
        number = int((tmp_path / "n").read_text())
        assert lives(number)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    while lives(number) and time.monotonic() < end:
        time.sleep(0.01)
    assert not lives(number)


# Late writes


class Late:
    """The reference, which changes its output when it has ended."""

    def __init__(self, change: str, after: float) -> None:
        self.entry = Entry(
            "late", function="none:none", pairs=("G-S",), architectures=("llama",), safetensors_as="file"
        )
        self._change, self._after = change, after

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, and go on."""
        reference(src, dst)
        threading.Timer(self._after, self._late, [dst]).start()
        return Run(ACCEPTED, 0)

    def _late(self, dst: Path) -> None:
        if self._change == "truncated":
            os.truncate(dst, 100)
        elif self._change == "a pipe":
            dst.unlink()
            os.mkfifo(dst)
        elif self._change == "gone":
            dst.unlink()
        else:
            dst.write_bytes(dst.read_bytes()[:-1] + b"\1")


@pytest.mark.parametrize("change", ["truncated", "a pipe", "gone", "written"])
def test_a_late_write_is_seen(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rosetta_ref.gate.run.answers import Answers

    plain = Answers._question

    def later(self: Answers, *given: object) -> object:
        """Between the first look at the output and its judgement."""
        time.sleep(0.3)
        return plain(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Answers, "_question", later)
    sample = build("llama-f32", Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)
    (found,) = gate(Late(change, 0.1), samples=[sample], only=["F-CONV-CARD-001/G-S/*"])
    assert [finding.kind for finding in found.findings] == ["changed-after-exit"]
    assert found.outcome == "Falsified"


# The disk


def test_the_disk_that_a_command_uses_is_limited(tmp_path: Path) -> None:
    script = f"i=0; while true; do head -c 1000000 /dev/urandom > {tmp_path}/$i; i=$((i+1)); done"
    done = run(["sh", "-c", script], time_limit=30, disk=Disk((tmp_path,), 8 << 20))
    assert done.outcome == CRASHED
    assert "written, past the limit of 8.0 MiB" in done.detail
    assert done.disk > 8 << 20
    assert done.seconds < 20


def test_one_file_stays_within_the_limit(tmp_path: Path) -> None:
    """Also where it is made at once, before anybody looks."""
    script = f"import os; os.posix_fallocate(os.open({str(tmp_path / 'x')!r}, os.O_CREAT | os.O_WRONLY), 0, 1 << 30)"
    done = run([sys.executable, "-S", "-c", script], time_limit=10, disk=Disk((tmp_path,), 4 << 20))
    assert not done.accepted
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 << 20


def test_the_disk_that_a_command_uses_is_measured(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    converter = CommandLine(Entry("x", command="sh -c 'head -c 3000000 /dev/urandom > {dst}' {src}"))
    done = converter.convert(tmp_path / "in", tmp_path / "out" / "model.gguf")
    assert done.accepted
    assert 3_000_000 <= done.disk < 4_000_000
    few = CommandLine(Entry("x", command="sh -c 'head -c 3000000 /dev/urandom > {dst}' {src}", disk_limit=1 << 20))
    assert not few.convert(tmp_path / "in", tmp_path / "out" / "model.gguf").accepted


@pytest.mark.skipif(not memory.HAS_PROC, reason="seen in /proc")
def test_nothing_is_inherited(tmp_path: Path) -> None:
    """A command has its three streams, and no descriptor of the gate's."""
    done = run(
        [sys.executable, "-S", "-c", "import os; print(sorted(os.listdir('/proc/self/fd'), key=int))"], time_limit=10
    )
    assert done.stdout.strip() in ("['0', '1', '2', '3']", "['0', '1', '2']")
