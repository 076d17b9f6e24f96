"""What a command loads: its own module and what it works with, and nothing of the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rosetta_ref.cli import COMMANDS, module_of

ROOT = Path(__file__).parents[1]
#: Modules of the package that `--help` loaded before its commands were loaded one by one, and the share that it may load now.
BEFORE, SHARE = 155, 3


def loaded(script: str) -> set[str]:
    """The modules that a program has loaded at its end."""
    text = f"{script}\nimport sys; print(); print('loaded:', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


def command(*arguments: str) -> str:
    return f"""
from rosetta_ref.cli import main
try:
    code = main({list(arguments)!r})
except SystemExit as end:
    code = end.code
assert code == 0, code
"""


def parts(modules: set[str], package: str = "rosetta_ref") -> set[str]:
    """What is loaded of a package: the names of its modules and packages."""
    return {name.removeprefix(f"{package}.").partition(".")[0] for name in modules if name.startswith(f"{package}.")}


def test_help_loads_next_to_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rosetta_ref.cli", "--help"],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    found = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {name for name in found if name.partition(".")[0] == "rosetta_ref"}
    print(
        f"rosetta-ref --help loads {len(ours)} modules of the package, and {BEFORE} before: {', '.join(sorted(ours))}"
    )
    assert {"rosetta_ref", "rosetta_ref.cli"} < ours
    assert len(ours) <= BEFORE // SHARE
    assert not {"numpy", "rich"} & found


def test_a_case_that_passes_loads_nothing_that_names_or_reduces_failures() -> None:
    case = "--case=F-CONV-CARD-001/G-A/llama-f32-tied"
    found = parts(loaded(command("gate", "--converter=reference", "--quiet", case)))
    assert {"gate", "convert"} <= found
    assert not {"reduce", "zoo", "diagnosis", "campaigns", "strategies"} & found


@pytest.mark.parametrize("module", ["rosetta_ref", "rosetta_ref.convert", "rosetta_ref.gate.run.judging.process"])
def test_importing_loads_no_large_library(module: str) -> None:
    large = {
        "torch",
        "tokenizers",
        "transformers",
        "jinja2",
        "hypothesis",
        "numba",
        "llama_cpp",
        "gguf",
        "yaml",
        "rich",
    }
    found = loaded(f"import {module}")
    assert module in found
    assert not large & found
    if module == "rosetta_ref":
        assert parts(found) == {"errors", "version"}
    if module.endswith("process"):  # it judges: it neither converts nor knows how the reference does it
        assert not {"convert", "architectures", "inference", "reduce", "zoo"} & parts(found)
        assert not {"session", "engine", "workspace", "request"} & parts(found, "rosetta_ref.gate.run")


def test_the_help_of_a_command_loads_no_other_command() -> None:
    for name in ("gate", "convert"):
        found = loaded(command(name, "--help"))
        assert parts(found, "rosetta_ref.cli") - {"terminal"} == {name}
    found = loaded("\n".join(command(name, "--help") for name in COMMANDS))
    assert not {"reduce", "zoo", "diagnosis", "campaigns", "strategies"} & parts(found)


def test_each_command_is_a_module_and_each_module_a_command() -> None:
    modules = {path.stem for path in (ROOT / "rosetta_ref" / "cli").glob("[!_]*.py")}
    assert modules - {"terminal"} == COMMANDS.keys()
    for name in COMMANDS:
        assert callable(module_of(name).add_arguments)
        assert callable(module_of(name).run)


@pytest.mark.parametrize("imports", ["import rosetta_ref", "import rosetta_ref.convert.publish"])
def test_convert_is_the_function_whatever_was_imported_before(imports: str) -> None:
    check = (
        "import rosetta_ref\nfrom rosetta_ref import convert\nfrom rosetta_ref.convert import convert as function\n"
        "assert rosetta_ref.convert is convert is function, convert"
    )
    assert "rosetta_ref.convert" in loaded(f"{imports}\n{check}")
