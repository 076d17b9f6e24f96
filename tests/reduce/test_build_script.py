"""build.py: what it writes is, byte for byte, what it was made of."""

from __future__ import annotations

import ast
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta_ref.archive import Archive
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.reduce.folder.script import build_script
from rosetta_ref.strategies.apr import archives as apr_archives
from rosetta_ref.strategies.gguf import gguf_archives
from rosetta_ref.strategies.safetensors import archives as safetensors_archives

GOLDEN = Path("fixtures/golden")
SMALL = sorted(path for path in GOLDEN.rglob("*") if path.is_file() and path.stat().st_size < 50_000)
WRITERS = {"gguf": gguf.write, "apr": apr.write, "safetensors": safetensors.write}


def run(script: str, folder: Path) -> dict[str, bytes]:
    """What the script leaves in a folder, run as if it lay there."""
    exec(compile(script, "build.py", "exec"), {"__file__": str(folder / "build.py")})
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check(files: Mapping[str, bytes]) -> str:
    script = build_script(files)
    with tempfile.TemporaryDirectory() as folder:
        assert run(script, Path(folder)) == dict(files)
    return script


def test_there_are_small_golden_files() -> None:
    assert len(SMALL) > 20
    assert {".apr", ".safetensors", ".json"} <= {path.suffix for path in SMALL}


@pytest.mark.parametrize("path", SMALL, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_golden_files_are_written_again(path: Path) -> None:
    check({path.name: path.read_bytes()})


@given(
    st.one_of(gguf_archives(max_tensors=3), apr_archives(max_tensors=3), safetensors_archives(max_tensors=3)),
    st.none() | st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9), st.floats(0.3, 1)),
)
def test_any_file_is_written_again(archive: Archive, damage: tuple[float, bytes, float] | None) -> None:
    """Whole files, and damaged and cut ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input.{archive.format}"
        WRITERS[archive.format](archive, path)
        data = path.read_bytes()
    if damage is not None:
        at, piece, end = damage
        place = int(at * len(data))
        data = (data[:place] + piece + data[place + len(piece) :])[: int(end * len(data))]
    check({path.name: data})


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=9),
        st.text() | st.binary(max_size=80),
        min_size=1,
        max_size=3,
    )
)
def test_any_names_and_texts(files: dict[str, str | bytes]) -> None:
    kept = {
        f"input/x{name}": content if isinstance(content, bytes) else content.encode() for name, content in files.items()
    }
    check(kept)


def test_a_directory_of_files() -> None:
    files = {
        "input/model-00001-of-00002.safetensors": b"\x02\0\0\0\0\0\0\0{}",
        "input/config.json": '{\n  "name": "it\'s é",\n  "a": "\\\\d"\n}\n'.encode(),
        "input/empty": b"",
    }
    script = check(files)
    assert """    b"{\\n",\n    '  "name": "it\\'s é",\\n'.encode(),\n""" in script


def test_it_needs_nothing_but_struct_and_a_path() -> None:
    """No import but two, no call of anything but what reads well."""
    tree = ast.parse(build_script({"input.apr": (GOLDEN / "apr/every-type.apr").read_bytes()}))
    imports = [
        (node.module, [name.name for name in node.names]) for node in tree.body if isinstance(node, ast.ImportFrom)
    ]
    assert imports == [("pathlib", ["Path"]), ("struct", ["pack"])]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_lines_read_as_the_format_does() -> None:
    lines = build_script({"input.apr": (GOLDEN / "apr/every-type.apr").read_bytes()}).splitlines()
    assert max(map(len, lines)) <= 120
    for line in (
        '"""Writes input.apr (2,180 bytes) next to this script."""',
        '    pack("<H", 1024),  # header.flags: row-major',
        '    b"bf16",  # index[0] / name',
        '    pack("<e", 0.4465),  # data q4 / block 0 / d',
        '    b"\\0" * 60,  # padding',
        '    pack("<3f", 0.0, -0.0, 1.5),  # data z.f32 / row 0',
        # Not a number's text, for its second element is a NaN with a payload.
        '    bytes.fromhex("00 00 80 7f 23 01 c0 7f 01 00 00 00"),  # data z.f32 / row 1',
    ):
        assert line in lines


def test_long_runs_are_multiplied() -> None:
    script = check({"x.bin": b"\xfe\xff" + b"\x88" * 500 + bytes(300) + b"\x01"})
    assert script.count("\n") < 20
    assert 'bytes.fromhex("88") * 500,' in script
    assert 'b"\\0" * 300,' in script


def test_runs_of_numbers_are_counted_in_numbers() -> None:
    header = b'{"t":{"dtype":"F32","shape":[80],"data_offsets":[0,320]}}'
    data = struct.pack("<Q", len(header)) + header + struct.pack("<80f", *[0.0] * 30, *[1.5] * 40, *range(1, 11))
    script = check({"x.safetensors": data})
    assert '    b"\\0" * 120,\n    pack("<f", 1.5) * 40,\n    pack("<10f", 1.0, 2.0,' in script


def test_lines_with_much_to_escape_are_not_longer() -> None:
    text = b'"\\' * 300 + b"\n"
    assert max(map(len, check({"x.json": text}).splitlines())) <= 120


def test_it_is_the_same_in_any_order() -> None:
    files = {"b": b"1", "a": b"2"}
    assert build_script(files) == build_script(dict(reversed(files.items())))
