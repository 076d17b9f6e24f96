"""A conversion that is killed at random moments: all or nothing.

The source is as it was, there is no target (or, where the kill came after the last rename, a whole one), what else is
left says that it is partial, and the next run succeeds and removes it.
"""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rosetta_ref.convert import convert
from tests.support import smollm

PROGRAM = "import sys; from rosetta_ref.convert import convert; convert(sys.argv[1], sys.argv[2])"


def start(source: Path, target: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(source), str(target)], stderr=subprocess.DEVNULL)


def takes_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so does whatever that starts: the tests, say."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_work(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the first file stands in a folder that is known to be partial, or the process ends."""
    while process.poll() is None and not list(folder.glob(".*.partial/*")):
        time.sleep(0.001)


def kill_while_it_works(source: Path, target: Path, delay: float) -> bool:
    """Kill `delay` seconds after the first sign of work; whether the process was still there to be killed."""
    process = start(source, target)
    wait_for_work(process, target.parent)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "name",
    ["model.apr", *(pytest.param(name, marks=pytest.mark.slow) for name in ("hf", "back.gguf", "single.safetensors"))],
)
def test_killed_conversion(name: str, tmp_path: Path) -> None:
    # Copied sources, so that a tool that damages its source damages only a copy.
    model = tmp_path / "model.gguf"
    model.write_bytes(smollm.variant("Q4_1").read_bytes())
    source = model
    if name == "back.gguf":
        convert(model, source := tmp_path / "source.apr")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / name

    process = start(source, target)
    wait_for_work(process, folder)
    began = time.perf_counter()
    assert process.wait() == 0
    whole = time.perf_counter() - began
    wanted = content(folder)
    remove(folder)

    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    killed = 0
    for delay in (0.0, moments.uniform(0, 0.9 * whole)):
        if kill_while_it_works(source, target, delay):
            killed += not target.exists()
            left = {name: digest for name, digest in content(folder).items() if ".partial/" not in name}
            assert left.keys() <= wanted.keys()
            assert left == (wanted if target.exists() else companions(left))
        if target.exists():
            remove(folder)
        assert hashlib.sha256(source.read_bytes()).hexdigest() == digest
    assert killed, "no run was killed in time: nothing was tested"

    assert start(source, target).wait() == 0
    assert content(folder) == wanted


@pytest.mark.parametrize("name", [pytest.param("model.apr", marks=pytest.mark.slow), "hf"])
def test_interrupted_conversion(name: str, tmp_path: Path) -> None:
    """Ctrl-C, while it writes and while it checks: one line, exit code 130, and nothing is left."""
    source = smollm.variant("Q4_1")
    command = [sys.executable, "-m", "rosetta_ref.cli", "convert", str(source), str(tmp_path / name)]
    interrupted = 0
    for delay in (0.0, 0.1, 0.3):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=takes_interrupts
        )
        wait_for_work(process, tmp_path)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
        if not (tmp_path / name).exists():
            interrupted += 1
            assert (process.returncode, said) == (130, "error: interrupted\n")
            assert list(tmp_path.iterdir()) == []
        else:  # it was done before the signal came
            remove(tmp_path)
    assert interrupted, "no run was interrupted in time: nothing was tested"


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its sum: a `.partial` that stays behind shows here."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def companions(left: dict[str, str]) -> dict[str, str]:
    """What may stand there without its target: files that are renamed into place before the weights are."""
    return {name: digest for name, digest in left.items() if not name.endswith((".gguf", ".apr", "le.safetensors"))}


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
