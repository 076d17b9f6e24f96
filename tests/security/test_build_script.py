"""build.py is code made of foreign bytes: none of them gets out of its literal or its comment, and it writes its files and no others."""

from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rosetta_ref.reduce.folder.script import ScriptPathError, build_script

#: What ends a line, a literal, a comment or a script, or says how the script is encoded.
ODD = [
    "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\0", '"', "'", '"""', "'''", "\\", "\\\n", '\\"', "#",
    "# -*- coding: utf-7 -*-", "coding: utf-7", "+AAo-import os", "import os", "os.system('x')", ";", "]", ")", "{", "}", "{what}",
    "\ufeff", "\ud800", "\u202e", "\x1a", "\x1b", "%s", "\\N{DIGIT ONE}", "\\u000a", "\\x0a", "::error::", "é", "𝔘",
]  # fmt: skip
WORDS = st.lists(st.sampled_from(ODD) | st.text(max_size=6), max_size=5).map("".join)
RAW = WORDS.map(lambda word: word.encode("utf-8", "surrogatepass")) | st.binary(max_size=12)
#: The names of functions that a script calls.
CALLS = {"pack", "fromhex", "encode", "Path", "items", "mkdir", "write_bytes", "join"}


def text(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def gguf(name: bytes, key: bytes, value: bytes, data: bytes) -> bytes:
    keys = text(key) + struct.pack("<I", 8) + text(value)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + keys + text(name) + struct.pack("<IQIQ", 1, 1, 0, 0) + data


def safetensors(name: str, key: str, value: str, data: bytes) -> bytes:
    header = {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": {key: value}}
    head = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(head)) + head + data


def apr(name: bytes, metadata: bytes, data: bytes) -> bytes:
    index = struct.pack("<H", len(name)) + name + struct.pack("<BBQQQ", 0, 1, 1, 0, 4)
    start = 64 + len(metadata)
    head = struct.pack("<4sBBHIQIQQI", b"APR\0", 2, 0, 0, 1, 64, len(metadata), start, start + len(index), 0)
    return head.ljust(64, b"\0") + metadata + index + data


def check(files: dict[str, bytes], script: str) -> None:
    """It is what a script of these files is, and nothing else: literals, and calls of a few functions on them."""
    raw = script.encode("utf-8")  # as it is written: nothing that is no UTF-8
    tree = ast.parse(raw)
    assert ast.dump(tree) == ast.dump(ast.parse(script))
    first, *rest = tree.body
    assert isinstance(first, ast.Expr)
    kinds = [type(node) for node in rest]
    assert kinds == [ast.ImportFrom, ast.ImportFrom, ast.Assign, *[ast.Assign] * len(files), ast.For]
    assert [node.module for node in rest[:2]] == ["pathlib", "struct"]  # type: ignore[attr-defined]
    for assigned, (name, data) in zip(rest[3:-1], sorted(files.items()), strict=True):
        assert isinstance(assigned, ast.Assign)
        (target,) = assigned.targets
        assert isinstance(target, ast.Subscript)
        assert ast.literal_eval(target.slice) == name
        space = {"pack": struct.pack, "bytes": bytes, "__builtins__": {}}
        calls = {getattr(node.func, "attr", getattr(node.func, "id", None))
                 for node in ast.walk(assigned.value) if isinstance(node, ast.Call)}  # fmt: skip
        assert calls <= CALLS
        assert b"".join(eval(compile(ast.Expression(assigned.value), "build.py", "eval"), space)) == data
    tail = ast.parse(build_script({"a": b""})).body[-1]
    assert ast.dump(rest[-1]) == ast.dump(tail)
    assert all(line.isprintable() for line in script.split("\n"))


@given(RAW, RAW, RAW, st.binary(max_size=40))
@example(b'"""\nimport os\n', b"# -*- coding: utf-7 -*-", b"\\", b"\n")
@example("\u2028import os\u2029".encode(), b"\\\n", b"'''\"\"\"", b"\0" * 40)
@example(b"a" * 200 + b"\nimport os", b"\r", b"\x0c", b"")
def test_no_byte_of_a_gguf_file_becomes_code(name: bytes, key: bytes, value: bytes, data: bytes) -> None:
    files = {"input.gguf": gguf(name, key, value, data)}
    check(files, build_script(files))


@given(WORDS, WORDS, WORDS, st.binary(max_size=12))
def test_no_byte_of_a_safetensors_file_becomes_code(name: str, key: str, value: str, data: bytes) -> None:
    files = {"input.safetensors": safetensors(name, key, value, data)}
    check(files, build_script(files))


@given(RAW, RAW, st.binary(max_size=40))
def test_no_byte_of_an_apr_file_becomes_code(name: bytes, metadata: bytes, data: bytes) -> None:
    files = {"input.apr": apr(name, metadata, data)}
    check(files, build_script(files))


@given(WORDS, RAW)
def test_no_name_and_no_text_becomes_code(name: str, data: bytes) -> None:
    files = {"input/config.json": data, f"input/{name}.json": data}
    if "/" not in name and name not in ("", ".", ".."):
        check(files, build_script(files))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", ".", "a//../b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ScriptPathError, match="elsewhere"):
        build_script({name: b""})


def test_it_writes_its_file_next_to_itself_and_nothing_else(tmp_path: Path) -> None:
    data = gguf(b'"""\nopen("run", "w")\n# -*- coding: utf-7 -*-', "\u2028\\".encode(), b"'''\0", b"\1" * 40)
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "build.py").write_text(build_script({"input.gguf": data}), encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", "-B", str(home / "build.py")], cwd=elsewhere, check=False, timeout=30)
    assert done.returncode == 0
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.name != "build.py"} == {"input.gguf": data}
    assert list(elsewhere.iterdir()) == []
