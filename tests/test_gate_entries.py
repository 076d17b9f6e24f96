"""From what a user writes to a converter, and every mistake in it named with its place."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.gate.converter import bundled
from rosetta_ref.gate.converter.command import CommandLine, Unavailable
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.converter.fields import FIELDS
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.converter.named import (
    EntryError,
    UnknownConverterError,
    add_arguments,
    find_entries,
    from_arguments,
    read_entries,
    resolve,
)

FULL = """
[converters.mine]
command = "true {src} {dst} --type={type}"
pairs = ["G-A", "A-G"]
architectures = ["llama"]
types = ["F32", "q4_k"]
quantises = ["Q8_0"]
safetensors-as = "file"
time-limit = 2
memory_limit = "1GiB"
refuse-exit = [3, 5]
refuse-exceptions = ["TooOld"]
isolated = true
lossless = true
whole_models = false
loses = ["lossy-unasked"]
expectations = "expected.yaml"
environment = { A = "b" }
"""


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return parser.parse_args(words)


def written(folder: Path, text: str, name: str = "rosetta.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_field_has_a_place_in_the_table() -> None:
    assert {field.name for field in dataclasses.fields(Entry)} == {"name", *FIELDS}


def test_an_entry_with_every_field(tmp_path: Path) -> None:
    entry = read_entries(written(tmp_path, FULL))["mine"]
    assert entry == Entry(
        "mine", "true '{src}' '{dst}' '--type={type}'", None, ("G-A", "A-G"), ("llama",), ("F32", "Q4_K"), ("Q8_0",), "file", 2.0,
        1 << 30, (3, 5), ("TooOld",), True, True, False, ("lossy-unasked",), tmp_path / "expected.yaml", {"A": "b"},
    )  # fmt: skip


def test_the_same_in_a_pyproject(tmp_path: Path) -> None:
    plain = read_entries(written(tmp_path, FULL))
    text = "[project]\nname = 'x'\n" + FULL.replace("[converters", "[tool.rosetta-ref.converters")
    assert read_entries(written(tmp_path, text, "pyproject.toml")) == plain
    assert read_entries(written(tmp_path, "[project]\nname = 'x'\n", "pyproject.toml")) == {}


ENTRY = "[converters.mine]\nfunction = 'json:loads'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[converters.mine", "no TOML"),
        ("[converter.mine]\n", "unknown key 'converter'"),
        ("converters = 3\n", "converters: a table is wanted, not 3"),
        ("[converters]\nmine = 'x'\n", "converters.mine: a table is wanted, not 'x'"),
        ("[converters.mine]\npairs = ['G-A']\n", "neither command and function"),
        (ENTRY + "command = 'true {src} {dst}'\n", "both command and function"),
        (ENTRY + "time_limits = 3\n", "converters.mine: unknown key 'time_limits' "),
        (ENTRY + "pairs = 'G-A'\n", "converters.mine.pairs: a list is wanted, not 'G-A'"),
        (ENTRY + "pairs = ['G-X']\n", "converters.mine.pairs: unknown pair 'G-X'"),
        (ENTRY + "types = ['Q4_9']\n", "converters.mine.types: unknown type 'Q4_9'"),
        (ENTRY + "types = [4]\n", "converters.mine.types: unknown type 4"),
        (ENTRY + "time-limit = 0\n", "converters.mine.time_limit: a number of seconds is wanted, not 0"),
        (ENTRY + "time-limit = '3'\n", "converters.mine.time_limit: a number of seconds is wanted, not '3'"),
        (ENTRY + "time-limit = true\n", "converters.mine.time_limit: a number of seconds is wanted"),
        (ENTRY + "memory-limit = '3 apples'\n", "converters.mine.memory_limit: not a size: '3 apples'"),
        (ENTRY + "memory-limit = -1\n", "converters.mine.memory_limit: a number of bytes"),
        (
            ENTRY + "refuse-exit = [300]\n",
            "converters.mine.refuse_exit: an exit code is a number from 1 to 255, not 300",
        ),
        (ENTRY + "refuse-exit = ['3']\n", "converters.mine.refuse_exit: an exit code"),
        (ENTRY + "lossless = 'yes'\n", "converters.mine.lossless: true or false is wanted, not 'yes'"),
        (ENTRY + "safetensors-as = 'dir'\n", 'converters.mine.safetensors_as: "file" or "directory" is wanted'),
        (ENTRY + "environment = { A = 1 }\n", "converters.mine.environment: a table of texts"),
        ("[converters.mine]\nfunction = 'json'\n", "converters.mine.function: a function is written module:function"),
        ("[converters.mine]\nfunction = 3\n", "converters.mine.function: a text is wanted, not 3"),
    ],
)
def test_every_mistake_is_named_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(EntryError) as error:
        read_entries(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_key_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="Is 'time_limit' meant"):
        read_entries(written(tmp_path, ENTRY + "time_limits = 3\n"))


def test_a_broken_template_is_named_when_the_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "[converters.mine]\ncommand = 'true {source} {dst}'\n")
    with pytest.raises(EntryError) as error:
        read_entries(path)
    assert str(error.value).startswith(f"{path}: converters.mine.command: ")
    assert "unknown {source}" in str(error.value)


def test_a_function_with_an_environment_has_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "glue.py").write_text("import os\ndef convert(src, dst): print(os.environ['COLOUR'])\n")
    config = written(tmp_path, "[converters.mine]\nfunction = 'glue.py:convert'\nenvironment = { COLOUR = 'red' }\n")
    assert resolve("mine", config=config).convert(tmp_path, tmp_path / "x").stdout == "red\n"


def test_here_is_the_folder_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "a {b} c"
    folder.mkdir()
    script = folder / "convert.sh"
    script.write_text('#!/bin/sh\necho "$0"\n')
    script.chmod(0o755)
    written(folder, "[converters.mine]\ncommand = '{here}/convert.sh {src} {dst}'\n")
    run = resolve("mine", config=folder / "rosetta.toml").convert(tmp_path, tmp_path / "x")
    assert run.stdout == f"{script}\n"


def test_a_function_in_a_file_is_found_beside_the_entry(tmp_path: Path) -> None:
    (tmp_path / "glue.py").write_text("def convert(src, dst): print('glue')\n")
    config = written(tmp_path, "[converters.mine]\nfunction = 'glue.py:convert'\n")
    assert resolve("mine", config=config).convert(tmp_path, tmp_path / "x").stdout == "glue\n"


def test_the_next_file_upwards_that_has_entries(tmp_path: Path) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    written(tmp_path, ENTRY)
    written(tmp_path / "a", "[project]\nname = 'x'\n", "pyproject.toml")
    assert list(find_entries(inner)) == ["mine"]
    written(inner, ENTRY.replace("mine", "inner"))
    assert list(find_entries(inner)) == ["inner"]


# Which converter is meant


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_line_a_function_an_entry_a_bundled_name(here: Path) -> None:
    written(here, FULL)
    command, function = resolve("/bin/cp {src} {dst}"), resolve("json:loads")
    assert isinstance(command, CommandLine)
    assert (command.entry.name, command.entry.pairs) == ("cp", None)
    assert isinstance(function, Function)
    assert resolve("mine").entry.refuse_exit == (3, 5)
    assert resolve("reference").entry.name == "reference"


def test_the_only_entry_needs_no_name(here: Path) -> None:
    with pytest.raises(UnknownConverterError, match="there is no entry"):
        resolve(None)
    written(here, FULL)
    assert resolve(None).entry.name == "mine"
    written(here, FULL + ENTRY.replace("mine", "other"))
    with pytest.raises(UnknownConverterError, match="the entries are mine, other"):
        resolve(None)


@pytest.mark.parametrize(
    ("text", "message"),
    [("referense", "Is 'reference' meant"), ("a:b:c", "there is no 'a:b:c'"), ("./convert", "no './convert'")],
)
def test_a_name_that_means_nothing(here: Path, text: str, message: str) -> None:
    with pytest.raises(UnknownConverterError) as error:
        resolve(text)
    assert message in str(error.value)


def test_flags_override_the_entry(here: Path) -> None:
    written(here, FULL)
    words = """
        --converter mine --pairs G-S,S-G --refuse-exit 7 --safetensors-as directory --time-limit 0.5 --no-lossless
        --memory-limit 2GiB --architectures llama,qwen2 --types f16,Q6_K --quantises Q4_0 --whole-models
        --expectations other.yaml --loses F-CONV-META-001,APR/BF16 --env B=c=d --refuse-exceptions A,b.C --no-isolated
    """
    converter = from_arguments(arguments(*words.split()))
    assert converter.entry == Entry(
        "mine", "true '{src}' '{dst}' '--type={type}'", None, ("G-S", "S-G"), ("llama", "qwen2"), ("F16", "Q6_K"), ("Q4_0",),
        "directory", 0.5, 2 << 30, (7,), ("A", "b.C"), False, False, True, ("F-CONV-META-001", "apr/bf16"), Path("other.yaml"), {"A": "b", "B": "c=d"},
    )  # fmt: skip


def test_flags_that_are_not_given_change_nothing(here: Path) -> None:
    config = written(here, FULL)
    assert from_arguments(arguments("--converter", "mine")).entry == read_entries(config)["mine"]


@pytest.mark.parametrize(
    "words", [("--pairs", "X-Y"), ("--refuse-exit", "a"), ("--time-limit", "-1"), ("--env", "A"), ("--types", "Q")]
)
def test_flags_are_read_as_strictly(words: tuple[str, str]) -> None:
    with pytest.raises(argparse.ArgumentError):
        arguments(*words)


def test_every_field_has_a_flag() -> None:
    given: Any = vars(arguments())
    assert set(FIELDS) - {"command", "function"} <= set(given)
    assert all(value is None for value in given.values())


# Those that are known by name


@pytest.mark.parametrize("name", bundled.NAMES)
def test_a_bundled_converter_is_there_or_says_what_is_missing(name: str) -> None:
    try:
        converter = resolve(name)
    except Unavailable as error:
        assert "not installed" in str(error) or "no program" in str(error)  # noqa: PT017 (either is right)
    else:
        assert converter.entry.name == name
        assert converter.entry.pairs


def test_what_is_not_installed_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    for name in set(bundled.NAMES) - {"reference"}:
        with pytest.raises(Unavailable) as error:
            resolve(name)
        assert str(error.value).startswith(f"{name}: ")
