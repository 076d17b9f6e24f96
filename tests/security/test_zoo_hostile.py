"""The zoo and the demo, given what is odd: a verifier that breaks says no, a command that cannot be run is refused, nothing raises."""

from __future__ import annotations

import math
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.cli import main
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo.trial.verifiers import VERIFIERS


def floats(name: str, *values: float, shape: tuple[int, ...] | None = None) -> Tensor:
    return Tensor.of(name, TYPES["F32"], shape or (len(values),), np.array(values, np.float32).view(np.uint8))


def archive(*tensors: Tensor) -> Archive:
    return Archive("gguf", {}, {tensor.name: tensor for tensor in tensors})


ODD = {
    "no tensor": archive(),
    "another name": archive(floats("b", 1, 2)),
    "another shape": archive(floats("a", 1, 2, 3)),
    "another number of dimensions": archive(floats("a", 1, 2, shape=(1, 2, 1, 1))),
    "no elements": archive(floats("a", shape=(0,))),
    "no numbers": archive(floats("a", math.nan, math.inf)),
    "more than there were": archive(floats("a", 1, 2), floats("b", 1)),
    "bytes that are too few": archive(Tensor("a", TYPES["Q4_0"], (32,), np.zeros(3, np.uint8))),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_a_verifier_gives_a_verdict_on_anything(verifier: str, odd: str) -> None:
    right = archive(floats("a", 1, 2))
    for expected, actual in ((right, ODD[odd]), (ODD[odd], right), (ODD[odd], ODD[odd])):
        assert VERIFIERS[verifier].corroborates(expected, actual) in (True, False)


def test_a_verifier_that_breaks_says_no() -> None:
    right = archive(floats("a", 1, 2))
    for verifier in ("cries-wolf", "bare-inf-in-json", "same-flaw-on-both-sides"):
        assert VERIFIERS[verifier].corroborates(right, ODD["another name"]) is False


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["no such\x1b[2J\n::error::x"], "there is no member"),
        (["q5_0-interleaved", "--seeds", "9" * 30], "seeds can be run"),
        (["q5_0-interleaved", "--seed", "-1"], "a seed is a number from 0"),
        (["q5_0-interleaved", "--seed", "9" * 30], "a seed is a number from 0"),
    ],
)
def test_what_cannot_be_run_is_refused(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", *flags]) == 2
    found = capsys.readouterr().err
    assert said in found
    assert found.count("\n") == 1
    assert "\x1b" not in found


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _model(path: Path) -> None:
    name = b"a[/red]\x1b[2J\n::error::"
    head = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 1)
        + text(b"general.architecture")
        + struct.pack("<I", 8)
        + text(b"[/bold]\n::x")
    )
    head += text(name) + struct.pack("<IQIQ", 1, 1, 0, 0)
    path.write_bytes(head.ljust(-(-len(head) // 32) * 32, b"\0") + bytes(32))


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        Path.mkdir,
        _model,
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b"GGUF" + b"\xff" * 100),
        lambda path: path.write_bytes(b""),
        lambda path: None,
    ],
)
def test_the_demo_refuses_what_is_no_model(make: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.gguf"
    make(path)  # type: ignore[operator]
    began = time.process_time()
    for flags in ([], ["--json"]):
        assert main(["demo", str(path), *flags]) == 1
        done = capsys.readouterr()
        assert str(path) in done.err
        assert (done.out, done.err.count("\n"), "\x1b" in done.err) == ("", 1, False)
    assert time.process_time() - began < 5
