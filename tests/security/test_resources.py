"""Files below 1 MB that hold as many as possible of whatever takes time: at most a second of CPU and 256 MB for each command.

Measured in a process that has run a command before; what is beyond the limit is measured again, since others use the machine too.
What is printed is bounded as well: a table has so many rows, and a cell so many characters.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import crafted
from tests.support.warm import MIB, Warm, warm

SECONDS, MEMORY, AGAIN = 1.0, 256 * MIB, 4
#: Characters that may be printed for a byte of the file, and for a file of any size.
PRINTED, PAGE = 8, 100_000

MEGABYTE = 990_000
U8, F32, U32, STRING, ARRAY = 0, 6, 4, 8, 9
ARCHITECTURE = crafted.string("general.architecture", "llama")
NAN = struct.pack("<f", float("nan")).ljust(32, b"\0")


def many(size: int) -> list[str]:
    """Names of five letters, of as many things of that size as go into a file."""
    return [f"{number:05x}" for number in range((MEGABYTE - 200) // size)]


def array(item: int, count: int, data: bytes) -> bytes:
    return struct.pack("<IQ", item, count) + data


def of_keys() -> bytes:
    return crafted.gguf([ARCHITECTURE, *(crafted.key(name, U8, b"\1") for name in many(18))])


def of_tensors(data: bytes = bytes(32)) -> bytes:
    names = many(61)
    return crafted.gguf(
        [ARCHITECTURE], [crafted.entry(name, [], 0, 32 * i) for i, name in enumerate(names)], data * len(names)
    )


def of_empty_tensors() -> bytes:
    """Tensors without elements, whose other dimension is huge."""
    return crafted.gguf([ARCHITECTURE], [crafted.entry(name, [0, 1 << 62], 0, 0) for name in many(46)])


def of_strings() -> bytes:
    count = MEGABYTE // 9
    return crafted.gguf([ARCHITECTURE, crafted.key("a", ARRAY, array(STRING, count, crafted.text("a") * count))])


def of_numbers() -> bytes:
    return crafted.gguf([ARCHITECTURE, crafted.key("a", ARRAY, array(U8, MEGABYTE, bytes(MEGABYTE)))])


def of_arrays() -> bytes:
    """Arrays in an array, under a key of 60,000 bytes."""
    count = 65_000
    return crafted.gguf(
        [ARCHITECTURE, crafted.key("k" * 60_000, ARRAY, array(ARRAY, count, array(U8, 0, b"") * count))]
    )


def of_deep_arrays() -> bytes:
    deep = array(ARRAY, 1, b"") * 60 + array(U8, 0, b"")
    return crafted.gguf([ARCHITECTURE, *(crafted.key(name, ARRAY, deep) for name in many(760))])


def of_one_text() -> bytes:
    """Half of it would be escaped."""
    return crafted.gguf([ARCHITECTURE, crafted.string("s", "a\x1b" * (MEGABYTE // 2))])


def of_one_name() -> bytes:
    return crafted.gguf([ARCHITECTURE], [crafted.entry("n" * MEGABYTE, [1], 0, 0)], bytes(32))


def of_blocks(id_: int, size: int) -> Callable[[], bytes]:
    """One tensor of a type that grows most when it is decoded."""

    def make() -> bytes:
        count = (MEGABYTE - 500) // size // 8 * 8
        data = random.Random(1).randbytes(size * count)
        return crafted.gguf([ARCHITECTURE], [crafted.entry("t", [256 * count], id_, 0)], data + bytes(-len(data) % 32))

    return make


def of_entries() -> bytes:
    """The shortest entries that SafeTensors has: a list instead of an object."""
    return crafted.safetensors(b"{" + b",".join(b'"%s":["U8",[0],[0,0]]' % n.encode() for n in many(28)) + b"}")


def of_bytes() -> bytes:
    names = many(41)
    entries = (b'"%s":["U8",[],[%d,%d]]' % (name.encode(), i, i + 1) for i, name in enumerate(names))
    return crafted.safetensors(b"{" + b",".join(entries) + b"}", bytes(len(names)))


def of_dimensions() -> bytes:
    return crafted.safetensors(
        b'{"t":{"dtype":"F32","shape":[' + b",".join([b"1"] * 400_000) + b'],"data_offsets":[0,4]}}', bytes(4)
    )


def of_lists() -> bytes:
    return crafted.safetensors(
        b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":[' + b",".join([b"[]"] * 300_000) + b"]}}", bytes(4)
    )


def of_depth() -> bytes:
    return crafted.safetensors(b'{"t":' + b"[" * 400_000 + b"]" * 400_000 + b"}")


def of_digits() -> bytes:
    return crafted.safetensors(
        b'{"t":{"dtype":"F32","shape":[' + b"9" * 900_000 + b'],"data_offsets":[0,4]}}', bytes(4)
    )


def of_halves() -> bytes:
    """Halves of surrogate pairs."""
    return crafted.safetensors(b'{"' + b"\\ud800" * 150_000 + b'":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')


def of_pairs() -> bytes:
    """One text of a megabyte as metadata, and as many keys as may be."""
    return crafted.safetensors({"__metadata__": {f"{i:x}": "" for i in range(64_000)} | {"long": "b" * 100_000}})


def of_ill_fitting() -> bytes:
    """APR entries of a wrong size: diff reads them as bytes, and says of each which types would fit."""
    return crafted.apr({}, [(name, 0, [1], 0, 0) for name in many(34)])


def of_unknown_types() -> bytes:
    return crafted.apr({}, [(name, 99, [3] * 8, 0, 0) for name in many(91)])


def of_apr_numbers() -> bytes:
    names = many(98)
    return crafted.apr({}, [(n, 0, [1], 64 * i, 4) for i, n in enumerate(names)], NAN.ljust(64, b"\0") * len(names))


def of_apr_lists() -> bytes:
    return crafted.apr(b'{"a":[' + b",".join([b"[]"] * 300_000) + b"]}", [("t", 0, [1], 0, 4)], bytes(4))


def of_types() -> bytes:
    """Tensors whose true type stands in the metadata."""
    said = {name: {"type": "Q8_0", "shape": [0]} for name in many(80)}
    return crafted.apr({"rosetta.ggml_types": said}, [(name, 7, [0], 0, 0) for name in said])


MAKERS: dict[str, Callable[[], bytes]] = {
    "keys.gguf": of_keys,
    "tensors.gguf": of_tensors,
    "nan.gguf": lambda: of_tensors(NAN),
    "empty.gguf": of_empty_tensors,
    "strings.gguf": of_strings,
    "numbers.gguf": of_numbers,
    "arrays.gguf": of_arrays,
    "deep.gguf": of_deep_arrays,
    "text.gguf": of_one_text,
    "name.gguf": of_one_name,
    "tq1_0.gguf": of_blocks(34, 54),
    "iq1_s.gguf": of_blocks(19, 50),
    "entries.safetensors": of_entries,
    "bytes.safetensors": of_bytes,
    "dimensions.safetensors": of_dimensions,
    "lists.safetensors": of_lists,
    "depth.safetensors": of_depth,
    "digits.safetensors": of_digits,
    "halves.safetensors": of_halves,
    "pairs.safetensors": of_pairs,
    "ill.apr": of_ill_fitting,
    "unknown.apr": of_unknown_types,
    "nan.apr": of_apr_numbers,
    "lists.apr": of_apr_lists,
    "types.apr": of_types,
}
#: What took longest, or printed most, before it was bounded; the others take a while.
ALWAYS = ("arrays.gguf", "ill.apr")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    folder = tmp_path_factory.mktemp("warm")
    (folder / "a.gguf").write_bytes(crafted.gguf([ARCHITECTURE], [crafted.entry("t", [1], 0, 0)], bytes(32)))
    with warm() as made:
        made.cost("convert", "--keep-names", folder / "a.gguf", folder / "a.apr")
        for file in sorted(folder.iterdir()):
            made.cost("inspect", file)
            made.cost("validate", file)
            made.cost("diff", file, file)
        yield made


def commands(file: Path, folder: Path) -> Iterator[tuple[str | Path, ...]]:
    target = folder / ("out.gguf" if file.suffix == ".apr" else "out.apr")
    yield "inspect", "--lenient", file
    yield "inspect", "--json", file
    yield "validate", file
    yield "diff", "--lenient", file, file
    yield "convert", "--force", file, target
    yield "convert", "--force", "--keep-names", "--lenient", file, target


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.slow) for name in MAKERS]
)
def test_a_small_file_costs_little(name: str, tmp_path: Path, worker: Warm) -> None:
    path = tmp_path / name
    path.write_bytes(MAKERS[name]())
    assert 700_000 < path.stat().st_size < 1_000_000 or name.startswith("halves")
    for arguments in commands(path, tmp_path):
        for turn in range(AGAIN):
            cost = worker.cost(*arguments)
            within = cost.seconds <= SECONDS and cost.memory <= MEMORY
            if within or turn == AGAIN - 1:
                break
        assert not cost.raised, (arguments, cost.raised)
        assert within, (arguments, str(cost))
        assert cost.printed <= PRINTED * path.stat().st_size + PAGE, (arguments, str(cost))
        assert cost.printed <= 12 * PAGE or "--json" in arguments, (arguments, str(cost))


def test_the_worker_sees_time_memory_print_and_what_is_raised(tmp_path: Path) -> None:
    """The measure itself: a command that does too much of each."""
    script = tmp_path / "wasteful.py"
    script.write_text(
        "import sys, numpy as np, time\n"
        "def run(arguments, out, err):\n"
        "    np.ones(10_000_000).sum(); print('x' * 5000)\n"
        "    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n"
        "    raise KeyError('undeclared')\n"
        "from rosetta_ref.cli import inspect\n"
        "inspect.run = run\n"
        "from tests.support import warm\n"
        "warm._serve()\n"
    )
    with warm(str(script)) as made:
        cost = made.cost("inspect", "x")
    assert cost.seconds > 0.3
    assert cost.memory > 70 * MIB
    assert cost.printed > 5000
    assert "KeyError" in cost.raised
