"""Systems that lack something: no pidfd and no waitid (macOS before Python 3.13), neither `resource` nor `fcntl` (Windows)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rosetta_ref.gate.converter import memory, supervise, supervisor
from rosetta_ref.gate.converter.command import run
from rosetta_ref.gate.converter.entry import CRASHED, TIMEOUT
from rosetta_ref.gate.converter.named import UnknownConverterError, entry_of, resolve

ROOT = Path(__file__).parents[2]


@pytest.fixture(
    params=["del os.pidfd_open, os.waitid", "del os.pidfd_open", "def none(pid): raise OSError\nos.pidfd_open = none"]
)
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands are started by a process that lacks something."""
    text = Path(supervise.__file__).read_text()
    (tmp_path / "supervise.py").write_text(text.replace("\n_SET_CHILD", f"\n{request.param}\n_SET_CHILD", 1))
    monkeypatch.setattr(supervise, "__file__", str(tmp_path / "supervise.py"))
    monkeypatch.setattr(supervisor, "_SERVER", supervisor._Server())


@pytest.mark.usefixtures("elsewhere")
def test_commands_are_run_without_pidfd_and_waitid() -> None:
    done = run(["/bin/sh", "-c", "sleep 0.05; echo hi; exit 3"], time_limit=20, refuse_exit=[3])
    assert (done.outcome, done.exit_code, done.stdout) == ("refused", 3, "hi\n")
    assert done.memory > 0
    assert run(["/bin/sh", "-c", "kill -9 $$"], time_limit=20).detail == "killed by SIGKILL"
    assert run(["true"], time_limit=20).accepted
    late = run(["sleep", "60"], time_limit=0.2)
    assert (late.outcome, late.seconds < 20) == (TIMEOUT, True)


DAEMON = """
import os, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        held = bytearray(b"x") * (150 << 20)
        time.sleep(20)
    os._exit(0)
os.wait()
os.close(w)
os.read(r, 1)
"""


@pytest.mark.skipif(not memory.HAS_PROC, reason="only Linux gives orphans to whoever adopts them")
def test_the_memory_of_a_daemon_counts() -> None:
    done = run([sys.executable, "-S", "-c", DAEMON], time_limit=15, memory_limit=100 << 20)
    assert (done.outcome, "past the limit of 100.0 MiB" in done.detail) == (CRASHED, True), done


BLOCKED = """
import os, sys
for name in ("resource", "fcntl"):
    sys.modules[name] = None
for name in ("killpg", "pidfd_open", "waitid", "posix_spawn", "set_blocking"):
    if hasattr(os, name):
        delattr(os, name)
from rosetta_ref import cli
for words in (["--version"], ["inspect", sys.argv[1]], ["validate", sys.argv[1]]):
    try:
        code = cli.main(words)
    except SystemExit as ended:
        code = ended.code
    print(words[0], code)
"""


def test_the_command_line_needs_neither_resource_nor_fcntl(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert {"--version 0", "inspect 0"} <= set(done.stdout.splitlines()), (done.stdout, done.stderr)


def test_an_entry_that_is_not_there_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "entry.py").write_text("raise SystemExit('it was imported')")
    with pytest.raises(UnknownConverterError, match="there is no entry 'mine'"):
        resolve("entry:mine")
    with pytest.raises(UnknownConverterError, match="there is no entry 'mien'") as caught:
        entry_of("entry:mien", {"mine": entry_of("x {src} {dst}", {})})
    assert "Is 'mine' meant?" in str(caught.value.hint)
