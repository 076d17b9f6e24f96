"""What was accepted, read once more by those who made the formats: gguf-py, safetensors, and llama.cpp in a process of its own.

Where both accept, names, shapes, types and places have to agree. Where the other one refuses, the reason is counted: it may be
stricter than the rules (gguf-py cannot read an array of arrays), and with --lenient we take more on purpose.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive, Kind, Part
from rosetta_ref.campaigns.case import Case
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.quant import libggml

#: A tensor as all can tell it: name, type id, ne without ones at its end, where its bytes begin, how many.
Row = tuple[Any, ...]
#: What ours reads with; a fault can be planted here.
OURS: Callable[..., Archive] = open_archive

_CHILD = r"""
import ctypes, json, sys
P, S, I, Z = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_size_t
class Init(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", P))
lib = ctypes.CDLL(sys.argv[1])
for name, result, arguments in (
    ("gguf_init_from_file", P, (S, Init)), ("gguf_free", None, (P,)), ("gguf_get_data_offset", Z, (P,)),
    ("gguf_get_n_kv", I, (P,)), ("gguf_get_key", S, (P, I)), ("gguf_get_n_tensors", I, (P,)),
    ("gguf_get_tensor_name", S, (P, I)), ("gguf_get_tensor_type", ctypes.c_int, (P, I)),
    ("gguf_get_tensor_size", Z, (P, I)), ("gguf_get_tensor_offset", Z, (P, I)),
    ("gguf_get_tensor_ne", ctypes.POINTER(I), (P, I)),
):
    getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
for line in sys.stdin:
    made = lib.gguf_init_from_file(json.loads(line).encode("utf-8", "surrogateescape"), Init(True, None))
    if not made:
        print("null", flush=True)
        continue
    start = lib.gguf_get_data_offset(made)
    rows = [
        [lib.gguf_get_tensor_name(made, i).hex(), lib.gguf_get_tensor_type(made, i), list(lib.gguf_get_tensor_ne(made, i)[:4]),
         start + lib.gguf_get_tensor_offset(made, i), lib.gguf_get_tensor_size(made, i)]
        for i in range(lib.gguf_get_n_tensors(made))
    ]
    keys = [lib.gguf_get_key(made, i).hex() for i in range(lib.gguf_get_n_kv(made))]
    lib.gguf_free(made)
    print(json.dumps([rows, keys]), flush=True)
"""


class Readers:
    """The other readers. llama.cpp's process is started when it is first needed, and again when it has died."""

    def __init__(self) -> None:
        self._llama: subprocess.Popen[str] | None = None

    @property
    def process(self) -> int | None:
        """The number of llama.cpp's process."""
        return None if self._llama is None else self._llama.pid

    def compare(self, case: Case, folder: Path) -> tuple[list[tuple[str, str]], list[str]]:
        """Place and words of each difference, and what is to be counted."""
        path = folder / case.words[1]
        lenient = "--lenient" in case.words
        try:
            with OURS(path, lenient=lenient) as archive:
                comparing = {"gguf": self._compare_gguf, "safetensors": _compare_safetensors}.get(archive.format)
                return comparing(archive, lenient) if comparing is not None else ([], [])
        except (RosettaError, OSError):  # what `inspect` read a moment ago
            return [("second reading", f"{case.words[1]} is refused the second time")], []

    def _compare_gguf(self, archive: Archive, lenient: bool) -> tuple[list[tuple[str, str]], list[str]]:
        found: list[tuple[str, str]] = []
        counted: list[str] = []
        mode = "lenient" if lenient else "strict"
        for part in archive.parts:
            ours = _ours(archive, part.names)
            for who, read in (("gguf-py", _by_gguf_py), ("llama.cpp", self._by_llama)):
                rows, why = read(part.map.path)
                if rows is None:
                    reason = _reason(archive, part) if why == "refuses" else why
                    counted.append(f"{mode} {who} refuses: {reason}")
                    if reason == _UNEXPLAINED and not lenient:
                        found.append(
                            (f"{who} refuses", "it was read strictly, and no difference that is known is in it")
                        )
                    continue
                counted.append(f"{mode} {who} agrees")
                cut = _as_c(ours) if who == "llama.cpp" else ours
                found += [(f"{who} {what}", words) for what, words in _differences(cut, rows)]
        return found, counted

    def _by_llama(self, path: Path) -> tuple[list[Row] | None, str]:
        library = libggml.library()
        if library is None:
            return None, "is not installed"
        if self._llama is None:
            self._llama = subprocess.Popen(
                [sys.executable, "-S", "-c", _CHILD, str(library)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        assert self._llama.stdin is not None
        assert self._llama.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._llama.stdin.write(json.dumps(str(path)) + "\n")
            self._llama.stdin.flush()
            line = self._llama.stdout.readline()
        if not line:
            self._llama.kill()
            self._llama.wait()
            self._llama = None
            return None, "ended itself"
        said = json.loads(line)
        if said is None:
            return None, "refuses"
        return [(bytes.fromhex(name), kind, _short(ne), at, size) for name, kind, ne, at, size in said[0]], ""


_UNEXPLAINED = "unexplained"


def _reason(archive: Archive, part: Part) -> str:
    """Why llama.cpp refuses a file that we take: what it does not read on purpose, by name."""
    if part.map.path.read_bytes()[4:6] == b"\0\0":
        return "big-endian"
    if any(value.item is Kind.ARRAY for value in part.metadata.values()):
        return "an array of arrays"
    bent = [rule for note in archive.notes for rule in re.findall(r"\[(\w+): ", note)]
    if bent:
        return f"bent {sorted(set(bent))[0]}"
    names = [name.encode("utf-8", "surrogateescape").partition(b"\0")[0] for name in archive.tensors]
    if len(set(names)) != len(names) or any("\0" in key for key in part.metadata):
        return "a NUL in a name"
    if any(len(name) > 63 for name in names):
        return "a name of 64 bytes"
    return "a tensor without elements" if any(not tensor.count for tensor in archive.tensors.values()) else _UNEXPLAINED


def _ours(archive: Archive, names: tuple[str, ...]) -> list[Row]:
    tensors = [archive.tensors[name] for name in names]
    return [
        (t.name.encode("utf-8", "surrogateescape"), t.type.id, _short(t.shape[::-1]), t.offset, t.nbytes) for t in tensors
    ]  # fmt: skip


def _as_c(rows: list[Row]) -> list[Row]:
    """C ends a name at a NUL."""
    return [(row[0].partition(b"\0")[0], *row[1:]) for row in rows]


def _short(ne: Any) -> tuple[int, ...]:
    made = [int(n) for n in ne]
    while made and made[-1] == 1:
        made.pop()
    return tuple(made)


def _by_gguf_py(path: Path) -> tuple[list[Row] | None, str]:
    try:
        from gguf import GGUFReader
    except ImportError:
        return None, "is not installed"
    try:
        reader = GGUFReader(path)
    except Exception as error:  # noqa: BLE001 - it refuses by whatever it trips over
        return None, f"{type(error).__name__}: {re.sub(r'[^a-zA-Z ]+', '', str(error))[:40].strip()}"
    rows = [
        (
            t.name.encode("utf-8", "surrogateescape"),
            int(t.tensor_type),
            _short(t.shape),
            int(t.data_offset),
            int(t.n_bytes),
        )
        for t in reader.tensors
    ]
    return rows, ""


def _differences(ours: list[Row], theirs: list[Row]) -> Iterator[tuple[str, str]]:
    """In which part a row differs: the first of each part."""
    if len(ours) != len(theirs):
        yield "count", f"{len(ours)} tensors, {len(theirs)} by them"
        return
    for part, name in enumerate(("name", "type", "shape", "offset", "bytes")):
        for a, b in zip(ours, theirs, strict=True):
            if a[part] != b[part]:
                yield name, f"{a[0]!a}: {a[part]!a}, {b[part]!a} by them"
                break


def _compare_safetensors(archive: Archive, _lenient: bool) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        return [], ["safetensors is not installed"]
    read: Callable[[bytes], Any] = deserialize  # it has no types of its own
    found: list[tuple[str, str]] = []
    counted: list[str] = []
    for part in archive.parts:
        try:
            theirs = dict(read(part.map.path.read_bytes()))
        except (SafetensorError, ValueError) as error:
            counted.append(f"safetensors {re.sub(r'[^a-zA-Z ]+', '', str(error))[:40].strip()}")
            continue
        counted.append("safetensors agrees")
        if set(theirs) != set(part.names):
            found.append(("safetensors names", f"{sorted(set(theirs) ^ set(part.names))[:3]!a}"))
            continue
        for name in part.names:
            tensor, other = archive.tensors[name], theirs[name]
            if list(tensor.shape) != list(other["shape"]) or bytes(tensor.data) != bytes(other["data"]):
                found.append(
                    ("safetensors tensor", f"{name!a}: {tensor.shape} {tensor.nbytes}, {other['shape']} by them")
                )
                break
    return found, counted
