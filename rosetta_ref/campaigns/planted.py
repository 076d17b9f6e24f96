"""Faults planted into workers, one of each kind: the self-test. A campaign that does not see them sees nothing."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosetta_ref.campaigns import foreign_readers

Main = Callable[[Sequence[str]], int]


def _key_error(words: Sequence[str]) -> int:
    return {"a": 1}["planted"]


def _nameless(words: Sequence[str]) -> int:
    sys.stderr.write("error: something is wrong [PlantedError: Nothing is wrong.]\n")
    return 1


def _outside(words: Sequence[str]) -> int:
    Path("../outside/new.txt").write_text("x")
    return 0


def _beside(words: Sequence[str]) -> int:
    Path("out/conftest.py").write_text("x")
    return 0


def _removed(words: Sequence[str]) -> int:
    Path("../outside/victim.txt").unlink()
    return 0


def _left(words: Sequence[str]) -> int:
    tempfile.mkdtemp()
    return 0


def _partial(words: Sequence[str]) -> int:
    Path("out/.t.gguf.partial").mkdir(exist_ok=True)
    return 1


def _touched(words: Sequence[str]) -> int:
    for path in Path("in").rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20:
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([(data[-1] if data else 0) ^ 1]))
    return 0


def _busy(words: Sequence[str]) -> int:
    total = 0
    for i in range(10**10):
        total += i
        if not i % 1000 and os.times().user + os.times().system > _BEGAN + 0.6:
            break
    return 0


_BEGAN = 0.0


def _memory(words: Sequence[str]) -> int:
    held = bytearray(400 << 20)
    held[::4096] = b"x" * len(held[::4096])
    return 0


def _endless(words: Sequence[str]) -> int:
    while True:
        pass


def _waiting(words: Sequence[str]) -> int:
    os.mkfifo("out/pipe")
    os.open("out/pipe", os.O_RDONLY)
    return 0


def _crash(words: Sequence[str]) -> int:
    ctypes.string_at(0)
    return 0


def _killed(words: Sequence[str]) -> int:
    os.kill(os.getpid(), 9)
    return 0


def _forged(words: Sequence[str]) -> int:
    sys.stdout.write("tensor 'x\n::error::forged'\n")
    return 0


def _turned(words: Sequence[str]) -> int:
    sys.stdout.write("tensor '\u202ex'\n")
    return 0


def _talkative(words: Sequence[str]) -> int:
    while True:
        sys.stdout.write("x" * 100_000)


def _disk(words: Sequence[str]) -> int:
    Path("out/t.gguf").write_bytes(bytes(80 << 20))
    return 0


def _odd_code(words: Sequence[str]) -> int:
    return 77


def _process(words: Sequence[str]) -> int:
    if not os.fork():
        os.execvp("sleep", ["sleep", "3"])
    return 0


#: Name: the kind of fault that has to be found, the commands in which it is planted (none: all), and what it does.
FAULTS: Mapping[str, tuple[str, tuple[str, ...], Callable[[Sequence[str]], int] | None]] = {
    "key-error": ("undeclared", (), _key_error), "exit-code": ("exit-code", (), _odd_code), "no-file-named": ("nameless", (),
     _nameless),
    "written-outside": ("outside", (), _outside), "written-beside": ("outside", (), _beside), "removed-outside": ("outside",
     (), _removed),
    "temporary-left": ("left", (), _left), "partial-left": ("left", (), _partial), "source-touched": ("source", (), _touched),
    "busy": ("cpu", ("inspect", "validate"), _busy), "memory": ("memory", ("inspect", "validate"), _memory),
    "endless": ("hang", ("inspect",), _endless), "waits": ("hang", ("inspect",), _waiting), "segfault": ("death", (), _crash),
    "killed": ("death", (), _killed), "forged-line": ("forged", (), _forged), "turned-text": ("forged", (), _turned),
    "output-without-end": ("output", ("inspect",), _talkative), "disk": ("disk", ("convert",), _disk), "goes-on": ("running",
     ("replay",), _process),
    "misread": ("misread", (), None),
}  # fmt: skip


def with_fault(main: Main, name: str | None) -> Main:
    """The command line with a fault in it; None leaves it as it is."""
    if name is None:
        return main
    _, commands, act = FAULTS[name]
    if act is None:
        foreign_readers.OURS = _misreading(foreign_readers.OURS)
        return main

    def planted(words: Sequence[str]) -> int:
        global _BEGAN
        _BEGAN = os.times().user + os.times().system
        return main(words) if commands and words[0] not in commands else act(words)

    return planted


def _misreading(read: Callable[..., Any]) -> Callable[..., Any]:
    def misread(*arguments: Any, **options: Any) -> Any:
        archive = read(*arguments, **options)
        for name, tensor in list(archive.tensors.items())[:1]:
            archive.tensors[name] = replace(tensor, offset=(tensor.offset or 0) + 1, shape=(*tensor.shape, 2))
        return archive

    return misread
