"""Commands as converters: every way in which a foreign program can end, or not end, is told from the others."""

from __future__ import annotations

import doctest
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import IO

import pytest

from rosetta_ref import units
from rosetta_ref.gate.converter import command as commands
from rosetta_ref.gate.converter import memory
from rosetta_ref.gate.converter.command import CommandLine, Unavailable
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Entry, Run
from rosetta_ref.gate.converter.output import Said
from rosetta_ref.gate.converter.template import CommandError, filled, template

PYTHON = f"{sys.executable} -S -c"


def shell(script: str, **limits: float) -> Run:
    """What becomes of a script of sh."""
    return commands.run(["sh", "-c", script], **{"time_limit": 10.0, **limits})


def is_alive(pid: int) -> bool:
    """Whether a process is there and not just waiting for its parent to notice that it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for_end(pid: int) -> bool:
    """Whether it is gone soon: a kill takes a moment."""
    for _ in range(200):
        if not is_alive(pid):
            return True
        time.sleep(0.005)
    return False


# How it ends


@pytest.mark.parametrize(
    ("script", "outcome", "code", "detail"),
    [
        ("exit 0", ACCEPTED, 0, ""),
        ("exit 1", REFUSED, 1, "exit code 1"),
        ("exit 3", REFUSED, 3, "exit code 3"),
        ("exit 4", CRASHED, 4, "exit code 4"),
        ("exit 101", CRASHED, 101, "exit code 101"),
        ("exit 139", CRASHED, 139, "exit code 139 (128 + SIGSEGV)"),
        ("kill -SEGV $$", CRASHED, -11, "killed by SIGSEGV"),
        ("kill -KILL $$", CRASHED, -9, "killed by SIGKILL"),
    ],
)
def test_how_a_program_ends(script: str, outcome: str, code: int, detail: str) -> None:
    run = commands.run(["sh", "-c", script], time_limit=10, refuse_exit=(3, 5))
    assert (run.outcome, run.exit_code, run.detail) == (outcome, code, detail)


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):",
        "thread 'main' panicked at src/main.rs:2:5:",
        "thread 'main' (4711) panicked at src/main.rs:2:5:",
        "panic: runtime error: index out of range [3] with length 3",
        "fatal error: all goroutines are asleep - deadlock!",
        "goroutine 1 [running]:",
    ],
)
@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_panic_is_a_crash_whatever_the_exit_code(code: int, text: str, stream: str) -> None:
    run = shell(f'echo reading; printf "%s\\n" "{text}" >&{stream}; echo more >&{stream}; exit {code}')
    assert run.outcome == CRASHED
    line = text.replace(" (4711)", "") + (" more" if text.endswith(":") else "")
    assert run.detail == f"exit code {code}, " + ("with a traceback" if "Trace" in text else f"and it printed: {line}")


@pytest.mark.parametrize(
    "text", ["no panic: all is well", "x.c:1: fatal error: no such file", "a thread panicked at noon"]
)
def test_words_within_a_line_are_no_panic(text: str) -> None:
    assert shell(f"echo '{text}'").outcome == ACCEPTED


def test_a_program_that_cannot_be_started_has_crashed(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    run = commands.run([str(broken)], time_limit=1)
    assert run.outcome == CRASHED
    assert run.detail.startswith("it does not start: ")


# Limits


def test_a_hang_ends_at_the_limit_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    run = shell(f"sleep 60 & echo $! > {tmp_path}/child; echo begun; sleep 60", time_limit=0.3)
    assert time.monotonic() - began < 3
    assert (run.outcome, run.exit_code, run.stdout) == (TIMEOUT, None, "begun\n")
    assert run.detail == "no end after 0.3 s"
    assert wait_for_end(int((tmp_path / "child").read_text()))


@pytest.mark.skipif(not memory.HAS_PROC, reason="only /proc says who is whose child")
def test_a_child_that_left_the_group_is_killed_as_well(tmp_path: Path) -> None:
    script = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    open({str(tmp_path / "child")!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""
    run = commands.run([sys.executable, "-S", "-c", script], time_limit=0.5)
    assert run.outcome == TIMEOUT
    assert wait_for_end(int((tmp_path / "child").read_text()))


def test_who_is_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    run = shell(f"sleep 60 & echo $! > {tmp_path}/child; echo done")
    assert time.monotonic() - began < 5
    assert (run.outcome, run.stdout) == (ACCEPTED, "done\n")
    assert wait_for_end(int((tmp_path / "child").read_text()))


HOG = "x = bytearray(400 << 20); import time; time.sleep(30)"


@pytest.mark.parametrize(
    "script", [HOG, f"import os, time; os.fork() or exec({HOG!r}); time.sleep(30)"], ids=["itself", "its child"]
)
def test_memory_past_the_limit_ends_it(script: str) -> None:
    run = commands.run([sys.executable, "-S", "-c", script], time_limit=20, memory_limit=100 << 20)
    assert run.outcome == CRASHED
    assert "resident, past the limit of 100.0 MiB" in run.detail
    assert run.seconds < 10
    assert run.memory > 100 << 20


def test_what_is_reserved_but_not_used_is_no_memory() -> None:
    script = "import mmap, time; x = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | 0x4000); time.sleep(0.3)"
    run = commands.run([sys.executable, "-S", "-c", script], time_limit=10, memory_limit=100 << 20)
    assert (run.outcome, run.stderr) == (ACCEPTED, "")


@pytest.mark.skipif(not memory.HAS_PROC, reason="ps does not tell them apart")
def test_a_mapped_file_is_the_kernels_memory() -> None:
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as large:  # on a disk: what is mapped of a tmpfs is memory
        _mapped(large)


def _mapped(large: IO[bytes]) -> None:
    large.write(bytes(200 << 20))
    large.flush()
    script = f"""
import mmap, time
file = open({large.name!r}, "rb")
x = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
sum(x[i] for i in range(0, len(x), 4096))
time.sleep(0.3)
"""
    run = commands.run([sys.executable, "-S", "-c", script], time_limit=10, memory_limit=100 << 20)
    assert (run.outcome, run.stderr) == (ACCEPTED, "")
    assert run.memory > 200 << 20


def test_the_peak_is_measured_also_after_it_is_over() -> None:
    script = "x = bytearray(150 << 20); del x; import time; time.sleep(0.15)"
    run = commands.run([sys.executable, "-S", "-c", script], time_limit=10)
    assert 150 << 20 < run.memory < 250 << 20


def test_the_memory_of_this_process_is_not_the_programs() -> None:
    ballast = bytearray(os.urandom(1 << 20) * 300)
    run = commands.run(["sleep", "0.1"], time_limit=10)
    assert len(ballast) == 300 << 20
    assert run.memory < 50 << 20


@pytest.mark.skipif(not memory.HAS_PROC, reason="ps takes longer")
def test_a_short_run_is_measured_too() -> None:
    # On a machine under load this process may sleep through one of them.
    assert any(commands.run(["sleep", "0.02"], time_limit=10).memory > 0 for _ in range(10))


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="ps of other systems is what is used there")
def test_without_proc_ps_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "ps"
    fake.write_text(f"#!{sys.executable}\n" + PS)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(memory, "HAS_PROC", False)
    run = commands.run([sys.executable, "-S", "-c", HOG], time_limit=20, memory_limit=100 << 20)
    assert (run.outcome, "past the limit" in run.detail) == (CRASHED, True)


PS = """
import os
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        words = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        print(pid, words[1], words[2], int(words[21]) * 4)
    except OSError:
        pass
"""


def test_where_nothing_can_be_measured_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "HAS_PROC", False)
    monkeypatch.setenv("PATH", "")
    run = commands.run(
        ["/bin/sh", "-c", "/bin/sleep 0.2 || exec sleep 0.2"], time_limit=10, environment={"PATH": "/bin:/usr/bin"}
    )
    assert run.outcome == ACCEPTED
    assert "memory is not measured here" in run.detail


def test_without_pidfd_the_end_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert (shell("echo yes; exit 3").outcome, shell("sleep 9", time_limit=0.2).outcome) == (CRASHED, TIMEOUT)
    assert shell("sleep 0.1; kill -ABRT $$").detail == "killed by SIGABRT"
    assert shell("echo yes; sleep 0.05").stdout == "yes\n"


# What it says


def test_a_flood_is_kept_at_both_ends() -> None:
    run = shell("echo first; yes | head -c 5000000; echo last; echo error >&2; exit 1")
    assert (run.outcome, run.stderr) == (REFUSED, "error\n")
    assert run.stdout.startswith("first\ny\n")
    assert run.stdout.endswith("y\nlast\n")
    assert "bytes left out ...]" in run.stdout
    assert len(run.stdout) < 70_000


def test_an_endless_flood_ends_at_the_limit() -> None:
    run = shell("yes", time_limit=0.3)
    assert (run.outcome, run.seconds < 3, len(run.stdout) < 70_000) == (TIMEOUT, True, True)


def test_a_panic_in_the_middle_of_a_flood_is_seen() -> None:
    run = shell('yes | head -c 500000; echo "panic: nil"; yes | head -c 500000; exit 1')
    assert run.outcome == CRASHED
    assert "panic: nil" not in run.stdout


@pytest.mark.parametrize("size", range(1, 40, 3))
def test_a_panic_in_pieces_is_seen(size: int) -> None:
    text = b"reading...\nthread 'main' panicked at src/main.rs:2:5:\nnote\n"
    said = Said()
    for start in range(0, len(text), size):
        said.add(text[start : start + size])
    assert (said.text.encode(), said.panic) == (text, "thread 'main' panicked at src/main.rs:2:5: note")


def test_the_end_of_an_endless_line_is_no_beginning() -> None:
    said = Said(kept=10)
    for _ in range(100):
        said.add(b"x" * 100)
    said.add(b"panic: no")
    said.add(b"panic: ")
    assert said.panic is None
    assert said.text == "x" * 10 + "\n[... 9,996 bytes left out ...]\n" + " nopanic: "


def test_a_line_that_was_cut_does_not_begin_where_it_was_cut() -> None:
    said = Said()
    said.add(b"x" * 600 + b"panic: " + b"y" * 505)
    said.add(b"z")
    assert said.panic is None


def test_what_is_in_the_pipe_at_the_end_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_PIECE", 1000)
    run = shell("head -c 30000 /dev/zero | tr '\\0' x")
    assert len(run.stdout) == 30000


def test_output_that_is_no_text_is_shown_all_the_same() -> None:
    assert shell(r"printf '\377\376ok'").stdout == "\ufffd\ufffdok"


# The template


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "is empty"),
        ("convert {src}", "{dst} is missing"),
        ("convert {src} {dst} {kind}", "unknown {kind}"),
        ("convert {src} {dst} {}", "unknown {}"),
        ("convert {src} {dst:>10}", "no format goes with {dst}"),
        ("convert {src} {dst} '", "No closing quotation"),
        ("convert {src} {dst} }", "Single '}'"),
        ("{src} {dst}", "the first word is the program"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused_at_once(command: str, message: str) -> None:
    with pytest.raises(CommandError) as error:
        CommandLine(Entry("x", command=command))
    assert message in str(error.value)


def test_a_program_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(Unavailable, match="no program 'no-such-converter'"):
        CommandLine(Entry("x", command="no-such-converter {src} {dst}"))


def test_words_are_filled_and_never_split_again(tmp_path: Path) -> None:
    words = template("c --in={src} {dst} {src_format}-{dst_format} {workdir} '{{}}'")
    source, target = tmp_path / "a b; $x.gguf", tmp_path / "out"
    assert filled(words, source, target) == [
        "c", f"--in={source}", str(target), "gguf-safetensors", str(tmp_path), "{}",
    ]  # fmt: skip


def test_a_type_that_is_not_asked_for_leaves_no_word(tmp_path: Path) -> None:
    words = template("c {src} {dst} --type={type}")
    assert filled(words, tmp_path, tmp_path, "Q4_0")[3:] == ["--type=Q4_0"]
    assert filled(words, tmp_path, tmp_path)[3:] == []


def test_a_command_converts(tmp_path: Path) -> None:
    """No shell: what would be special to one is an argument. Relative paths are made absolute."""
    (tmp_path / "$(in).gguf").write_bytes(b"GGUF")
    converter = CommandLine(Entry("copy", command="cp {src} {dst}", environment={"X": "y"}))
    run = converter.convert(tmp_path / "$(in).gguf", tmp_path / "out.apr")
    assert (run.outcome, (tmp_path / "out.apr").read_bytes()) == (ACCEPTED, b"GGUF")
    assert converter.convert(tmp_path / "nothing", tmp_path / "x").outcome == REFUSED
    assert converter.convert(tmp_path, tmp_path / "x", type="Q4_0").outcome == REFUSED


def test_the_environment_of_the_entry_is_set(tmp_path: Path) -> None:
    entry = Entry(
        "x", command="sh -c 'echo $COLOUR {src} {dst} >&2; exit 5'", environment={"COLOUR": "red"}, refuse_exit=(5,)
    )
    run = CommandLine(entry).convert(Path("a"), tmp_path / "b")
    assert (run.outcome, run.stderr) == (REFUSED, f"red {Path.cwd() / 'a'} {tmp_path / 'b'}\n")


@pytest.mark.parametrize("module", [commands, units])
def test_the_examples_are_true(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert (done.failed, done.attempted > 0) == (0, True)


def test_starting_a_program_takes_little() -> None:
    """The least of several, since the machine may be busy: 0.8 ms where this was written."""
    assert min(commands.run(["true"], time_limit=5).seconds for _ in range(20)) < 0.01
