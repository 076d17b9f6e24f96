"""Whatever a file of the three formats holds, the four commands end with 0 or 1, and each refusal is one line that names the file.

First odd values one by one, at each place that takes one; then random damage, where what is accepted has to be what gguf-py and
safetensors see.
"""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.cli import main
from rosetta_ref.compare import compare
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.inspect import describe
from rosetta_ref.validate import validate
from tests.support import crafted

U32, F32, STRING, ARRAY, U16 = 4, 6, 8, 9, 2
#: A line for a CI service, an end of line, a mark that turns the direction, and what moves the cursor.
STEERING = "a\n::error::forged\r\x1b[2J\u202e\u2028b"
ODD_JSON = [
    "null", "true", "-1", "-0", "1e3", "1.5", "1e999", "9" * 5_000, "18446744073709551616", "NaN", "Infinity", '""', '"x"',
    '"\\ud800"', "[]", "{}", "[[]]", '{"a": []}', "[true]", "[1.0]", "[" * 70 + "]" * 70, "[" * 100_000 + "]" * 100_000,
    '"\\u0000"', json.dumps(STEERING), '{"a": 1, "a": 2}', "[null]",
]  # fmt: skip

#: A place for a value in the header of a SafeTensors file, or in the metadata of an APR file.
SAFETENSORS = {
    "dtype": '{"t":{"dtype":%s,"shape":[1],"data_offsets":[0,4]}}',
    "shape": '{"t":{"dtype":"F32","shape":%s,"data_offsets":[0,4]}}',
    "dimension": '{"t":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}',
    "offsets": '{"t":{"dtype":"F32","shape":[1],"data_offsets":%s}}',
    "offset": '{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,%s]}}',
    "entry": '{"t":%s}',
    "more": '{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":%s}}',
    "metadata": '{"__metadata__":%s,"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "metadata value": '{"__metadata__":{"k":%s},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "header": "%s",
}
APR = {
    "metadata": "%s",
    "value": '{"x":%s}',
    "architecture": '{"architecture":%s}',
    "size": '{"architecture":"llama","hidden_size":%s,"num_layers":%s}',
    "vocabulary": '{"architecture":"llama","tokenizer.vocabulary":%s}',
    "types": '{"rosetta.ggml_types":%s}',
    "type": '{"rosetta.ggml_types":{"t":%s}}',
    "type's name": '{"rosetta.ggml_types":{"t":{"type":%s,"shape":[4]}}}',
    "type's shape": '{"rosetta.ggml_types":{"t":{"type":"I8","shape":%s}}}',
    "type's dimension": '{"rosetta.ggml_types":{"t":{"type":"I8","shape":[%s]}}}',
}


def of_safetensors(place: str, value: str) -> bytes:
    template = SAFETENSORS[place]
    return crafted.safetensors(template.replace("%s", value).encode("utf-8", "surrogatepass"), bytes(4))


def of_apr(place: str, value: str) -> bytes:
    return crafted.apr(
        APR[place].replace("%s", value).encode("utf-8", "surrogatepass"), [("t", 7, [4], 0, 4)], bytes(4)
    )


def with_keys(*keys: bytes) -> bytes:
    return crafted.gguf(
        [crafted.string("general.architecture", "llama"), *keys], [crafted.entry("t", [1], 0, 0)], bytes(32)
    )


def array(item: int, count: int, data: bytes) -> bytes:
    return struct.pack("<IQ", item, count) + data


GGUF = {
    "a key that steers": with_keys(crafted.string(STEERING, "x")),
    "a text that steers": with_keys(crafted.string("x", STEERING)),
    "a name that steers": crafted.gguf([], [crafted.entry(STEERING, [1], 0, 0)], bytes(32)),
    "a long name that steers": crafted.gguf([], [crafted.entry(STEERING * 10_000, [1], 0, 0)], bytes(32)),
    "a text that is no UTF-8": with_keys(crafted.string("x", b"\xff\xfe")),
    "a name that is no UTF-8": crafted.gguf([], [crafted.entry(b"\xff", [1], 0, 0)], bytes(32)),
    "an architecture that is a number": crafted.gguf([crafted.key("general.architecture", U32, bytes(4))]),
    "an architecture that is a list": crafted.gguf([crafted.key("general.architecture", ARRAY, array(STRING, 0, b""))]),
    "an architecture that steers": crafted.gguf([crafted.string("general.architecture", STEERING)]),
    "an alignment that is a text": with_keys(crafted.string("general.alignment", "32")),
    "an alignment of 0": with_keys(crafted.key("general.alignment", U32, bytes(4))),
    "a split of a text": with_keys(crafted.string("split.count", "2")),
    "a split of 65535": with_keys(crafted.key("split.count", U16, b"\xff\xff")),
    "a number that is none": with_keys(crafted.key("x", F32, struct.pack("<f", float("nan")))),
    "numbers that are none": with_keys(crafted.key("x", ARRAY, array(F32, 1, struct.pack("<f", float("-inf"))))),
    "lists in lists": with_keys(crafted.key("x", ARRAY, array(ARRAY, 1, b"") * 70 + array(0, 0, b""))),
    "lists in lists, fewer": with_keys(crafted.key("x", ARRAY, array(ARRAY, 1, b"") * 60 + array(0, 0, b""))),
    "heads that are a text": with_keys(crafted.string("llama.attention.head_count", "x")),
    "heads that are 0": with_keys(crafted.key("llama.attention.head_count", U32, bytes(4))),
    "layers of 2^32": with_keys(crafted.key("llama.block_count", U32, b"\xff" * 4)),
    "tokens that are numbers": with_keys(crafted.key("tokenizer.ggml.tokens", ARRAY, array(U32, 2, bytes(8)))),
    "a type that is none": crafted.gguf([], [crafted.entry("t", [1], 99, 0)], bytes(32)),
    "a dimension below 0": crafted.gguf([], [crafted.entry("t", [-1], 0, 0)], bytes(32)),
    "dimensions of 2^62": crafted.gguf([], [crafted.entry("t", [1 << 62, 1 << 62], 0, 0)], bytes(32)),
    "2^31 dimensions": crafted.gguf([], [crafted.text("t") + struct.pack("<I", 1 << 31) + bytes(12)], bytes(32)),
    "nothing": b"",
    "a magic": b"GGUF",
}  # fmt: skip


def odd_files() -> Iterator[tuple[str, str, bytes]]:
    """A name, a suffix and the bytes."""
    for place in SAFETENSORS:
        for number, value in enumerate(ODD_JSON):
            yield f"{place} {number}", ".safetensors", of_safetensors(place, value)
    for place in APR:
        for number, value in enumerate(ODD_JSON):
            yield f"{place} {number}", ".apr", of_apr(place, value)
    for name, data in GGUF.items():
        yield name, ".gguf", data


ODD = list(odd_files())
GROUPS = sorted({(suffix, name.rsplit(" ", 1)[0] if suffix != ".gguf" else "gguf") for name, suffix, _ in ODD})


def commands(path: Path, folder: Path) -> Iterator[list[str]]:
    target = folder / ("o.gguf" if path.suffix == ".apr" else "o.apr")
    for arguments in (
        ["inspect", "--lenient", path], ["inspect", "--json", path], ["validate", "--json", "--lenient", path],
        ["diff", path, path], ["diff", "--json", "--lenient", path, path], ["convert", "--force", path, target],
        ["convert", "--force", "--keep-names", "--lenient", path, target],
    ):  # fmt: skip
        yield [str(argument) for argument in arguments]


#: What no line may hold: what steers a terminal, and what ends a line for whoever reads it.
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def assert_ends_well(arguments: list[str], path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 or 1, and what is printed can be printed; what is refused names the file, once."""
    __tracebackhide__ = True
    code = main(arguments)
    out, err = capsys.readouterr()
    assert code in (0, 1), arguments
    assert not FORBIDDEN.search(out + err), (arguments, FORBIDDEN.search(out + err))
    for line in [*out.splitlines(), *err.splitlines()]:
        assert not line.lstrip().startswith("::"), line
    if "--json" in arguments and out:
        assert out.isascii()
        json.loads(out, parse_constant=lambda word: pytest.fail(word))
    if err:
        named = [path, Path(arguments[-1])] if "convert" in arguments else [path]
        assert any(str(file) in err for file in named), (arguments, err)
        assert err.count("\n") == 1
        assert len(err) < 10_000


@pytest.mark.parametrize(("suffix", "group"), GROUPS)
def test_odd_values(suffix: str, group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ("m" + suffix)
    for name, kind, data in ODD:
        if kind == suffix and (suffix == ".gguf" or name.rsplit(" ", 1)[0] == group):
            path.write_bytes(data)
            for arguments in commands(path, tmp_path):
                assert_ends_well(arguments, path, capsys)


@pytest.mark.parametrize(
    "content",
    [
        *(f'{{"weight_map": {value}}}' for value in ODD_JSON), *(f'{{"weight_map": {{"t": {value}}}}}' for value in ODD_JSON),
        *(f'{{"metadata": {value}, "weight_map": {{}}}}' for value in ODD_JSON), *ODD_JSON, "", "\ud800",
    ],
)  # fmt: skip
def test_odd_indexes(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    for command in ("inspect", "validate"):
        assert_ends_well([command, str(tmp_path)], tmp_path, capsys)


# Random damage


SEEDS: dict[str, bytes] = {
    ".gguf": crafted.gguf(
        [
            crafted.string("general.architecture", "x"),
            crafted.key("a", ARRAY, array(STRING, 2, crafted.text("s") + crafted.text(""))),
            crafted.key("n", ARRAY, array(ARRAY, 2, array(U16, 1, b"\1\0") + array(F32, 0, b""))),
            crafted.key("u", U32, b"\1\0\0\0"),
        ],
        [crafted.entry("f", [2, 3], 0, 0), crafted.entry("q", [32], 8, 32), crafted.entry("e", [0, 7], 1, 96)],
        struct.pack("<6f", *range(6)).ljust(32, b"\0") + bytes(range(34)).ljust(64, b"\0"),
    ),
    ".apr": crafted.apr(
        {"architecture": "x", "k": [1, "s", None]}, [("f", 0, [2, 3], 0, 24), ("u", 7, [5], 64, 5)],
        struct.pack("<6f", *range(6)).ljust(64, b"\0") + bytes(5),
    ),
    ".safetensors": crafted.safetensors(
        {
            "__metadata__": {"k": "v"},
            "f": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        },
        struct.pack("<6f", *range(6)) + bytes(8),
    ),
}  # fmt: skip
EDGES = [0, 1, 2, 7, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def damaged(suffix: str, draw: random.Random) -> bytes:
    """One to three changes; checksums are made anew, so that more than the first check is met."""
    data = bytearray(SEEDS[suffix])
    if suffix == ".safetensors" and draw.random() < 0.7:
        length = int.from_bytes(data[:8], "little")
        header = bytes(data[8 : 8 + length])
        places = list(re.finditer(rb'"[^"]*"|\d+', header))
        place = draw.choice(places)
        header = header[: place.start()] + draw.choice(ODD_JSON).encode() + header[place.end() :]
        return struct.pack("<Q", len(header)) + header + bytes(data[8 + length :])
    for _ in range(draw.randint(1, 3)):
        at, width = draw.randrange(len(data)), draw.choice([1, 2, 4, 8])
        way = draw.random()
        if way < 0.7:
            number = draw.choice(EDGES) if draw.random() < 0.7 else draw.getrandbits(64)
            data[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        elif way < 0.8:
            del data[at : at + draw.randrange(40)]
        elif way < 0.9:
            data[at:at] = data[at : at + draw.randrange(40)]
        else:
            del data[at:]
        data = data or bytearray(b"G")
    if suffix == ".apr" and len(data) > 68:
        data[40:44] = struct.pack("<I", crafted.header_checksum(bytes(data[:64])))
        data[-4:] = struct.pack("<I", zlib.crc32(data[:-4]))
    return bytes(data)


def described(path: Path, *, lenient: bool) -> None:
    with open_archive(path, lenient=lenient) as archive:
        json.dumps(describe(archive), allow_nan=False)


def validated(path: Path, *, lenient: bool) -> None:
    with open_archive(path, lenient=lenient) as archive:
        json.dumps(validate(archive).to_json(), allow_nan=False)


def compared(path: Path, *, lenient: bool) -> None:
    with open_archive(path, lenient=lenient) as archive:
        json.dumps(compare(archive, archive).to_json(), allow_nan=False)


def converted(path: Path, *, lenient: bool) -> None:
    target = path.with_name("o.gguf" if path.suffix == ".apr" else "o.apr")
    convert(path, target, keep_names=True, lenient=lenient, force=True)


def stored(path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    with open_archive(path) as archive:
        return {name: (tensor.shape, tensor.data.tobytes()) for name, tensor in archive.tensors.items()}


def as_gguf_py_sees_it(path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    import gguf

    reader = gguf.GGUFReader(path)
    return {
        t.name: (tuple(int(n) for n in t.shape[::-1]), np.ascontiguousarray(t.data).tobytes()) for t in reader.tensors
    }


def as_safetensors_sees_it(path: Path) -> dict[str, tuple[tuple[int, ...], bytes]]:
    import safetensors

    return {name: (tuple(e["shape"]), bytes(e["data"])) for name, e in safetensors.deserialize(path.read_bytes())}


THEIRS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".gguf": as_gguf_py_sees_it,
    ".safetensors": as_safetensors_sees_it,
}


def refusal(use: Callable[..., None], path: Path, *, lenient: bool) -> RosettaError | None:
    """What is refused; any other exception is a failure of the test."""
    try:
        use(path, lenient=lenient)
    except RosettaError as error:
        return error
    return None


def walk(suffix: str, count: int, folder: Path) -> int:
    """So many damaged files; how many of them were accepted. What others cannot read of those is a matter of their own."""
    accepted, draw, path = 0, random.Random(16), folder / ("m" + suffix)
    for _ in range(count):
        path.write_bytes(damaged(suffix, draw))
        for lenient in (False, True):
            for use in (described, validated, compared, converted):
                error = refusal(use, path, lenient=lenient)
                assert error is None or error.file is not None, (use, error)
                assert "\n" not in str(error)
        try:
            ours = stored(path)
        except RosettaError:
            continue
        accepted += 1
        if suffix in THEIRS:
            assert ours == THEIRS[suffix](path)
    return accepted


@pytest.mark.parametrize("suffix", SEEDS)
def test_random_damage(suffix: str, tmp_path: Path) -> None:
    assert walk(suffix, 120, tmp_path) > 2


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SEEDS)
def test_more_random_damage(suffix: str, tmp_path: Path) -> None:
    assert walk(suffix, 5_000, tmp_path) > 100
