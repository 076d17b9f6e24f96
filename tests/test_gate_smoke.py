"""`rosetta-ref smoke`: what it finds out about converters of whom everything is known, and what it does not believe."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref.cli import main
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.converter.named import resolve
from rosetta_ref.gate.run.workspace import Workspace
from rosetta_ref.gate.smoke.attempt import attempt
from rosetta_ref.gate.smoke.smoke import Findings, failures, smoke
from rosetta_ref.quant import TYPES

#: The reference, with a condition of its own. Each is a converter that a foreigner might have written.
GLUE = """
    import json, os, pathlib, shutil, struct
    from rosetta_ref.convert import convert as reference

    def only_f32(src, dst):
        if src.suffix != ".gguf" or dst.suffix != ".apr":
            raise ValueError("from GGUF to APR")
        from rosetta_ref.formats import gguf
        with gguf.read(src) as archive:
            if any(tensor.type.name != "F32" for tensor in archive.tensors.values()):
                raise ValueError("only F32")
            if archive.metadata["general.architecture"].data != "llama":
                raise ValueError("only llama")
        reference(src, dst)

    def only_files(src, dst):
        if src.is_dir() or not dst.suffix:
            raise ValueError("not a file")
        reference(src, dst)

    def only_own(src, dst):
        if src.suffix == ".apr" and not (src.parent / "mine").exists():
            raise ValueError("not written by me")
        reference(src, dst)
        (dst.parent / "mine").touch()

    def nothing(src, dst): pass
    def copies(src, dst): shutil.copyfile(src, dst) if src.is_file() else shutil.copytree(src, dst)
    def links(src, dst): os.symlink(src, dst)
    def empties(src, dst): dst.touch()
    def lies(src, dst): dst.write_bytes(b"GGUF" + bytes(1000))
    def no_tensors(src, dst): dst.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(8))
    def no_tensor(src, dst): dst.write_bytes(struct.pack("<Q", 2) + b"{}")
    def wrong_format(src, dst):
        made = dst.with_name("made.apr")
        reference(src, made)
        made.rename(dst)
    def falls(src, dst): raise KeyError("blk.0")
    def spoils(src, dst):
        reference(src, dst)
        with open(src, "ab") as file: file.write(b"x")
    def loses(src, dst):
        from rosetta_ref.formats import gguf
        with gguf.read(src) as archive:
            archive.tensors.popitem()
            made = dst.with_name("less.gguf")
            gguf.write(archive, made)
        reference(made, dst, keep_names=True)
"""


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glue") / "glue.py"
    path.write_text(textwrap.dedent(GLUE))
    return path


def found(glue: Path, name: str, **fields: Any) -> Findings:
    return smoke(Function(Entry(name, function=f"{glue}:{name}", **fields)))


def working(attempts: dict[str, Any]) -> list[str]:
    return [name for name, each in attempts.items() if each.works]


def run(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in ("smoke", *arguments)])
    return code, out.getvalue(), err.getvalue()


# What it finds out


def test_the_reference_keeps_what_it_claims() -> None:
    seen = smoke(resolve("reference"))
    assert working(seen.pairs) == ["G-A", "A-G", "G-S", "S-G", "A-S", "S-A", "G-G"]
    assert working(seen.architectures) == ["llama", "qwen2", "gemma3", "qwen3"]
    assert len(working(seen.forms)) == 4
    assert len(working(seen.types["G-A"])) == 33
    assert len(working(seen.quantises)) == len(seen.entry.quantises) > 10
    assert seen.whole_models is False
    assert seen.contradictions() == []
    assert seen.seconds > 0


def test_gguf_py_is_found_to_take_any_tensors() -> None:
    pytest.importorskip("gguf")
    seen = smoke(resolve("gguf-py"))
    assert working(seen.pairs) == ["G-S", "S-G"]
    assert working(seen.arbitrary) == ["G-S", "S-G"]
    assert working(seen.forms) == ["source as file", "target as file"]
    assert seen.whole_models is False
    assert {"Q1_0", "Q2_0"} == seen.types["G-S"].keys() - working(seen.types["G-S"])
    assert "BF16" not in working(seen.types["S-G"])
    assert seen.contradictions() == []  # its entry says so


def test_llama_cpp_is_a_quantiser(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llama_cpp")
    monkeypatch.setattr("rosetta_ref.gate.smoke.smoke.TYPES", {name: TYPES[name] for name in ("F32", "Q8_0")})
    converter = resolve("llama-quantize", overrides={"quantises": ("Q8_0",)})
    seen = smoke(converter)
    assert (working(seen.pairs), working(seen.quantises), seen.whole_models) == (["G-G"], ["Q8_0"], True)
    assert seen.memory > 1 << 20


def test_conditions_are_found_out(glue: Path) -> None:
    seen = found(glue, "only_f32")
    assert working(seen.pairs) == ["G-A"]
    assert working(seen.architectures) == ["llama"]
    assert working(seen.types["G-A"]) == ["F32"]
    assert seen.types["G-A"]["Q4_K"].reason == "refused: ValueError: only F32"


def test_a_claim_that_is_not_kept_is_noted(glue: Path) -> None:
    seen = found(
        glue,
        "only_f32",
        pairs=("G-A", "G-S"),
        types=("F32", "Q4_K"),
        whole_models=False,
        architectures=("llama", "qwen2"),
    )
    assert [line.partition(":")[0] for line in seen.contradictions()] == ["G-S", "qwen2", "Q4_K (G-A)", "whole_models is false, but it seems to be true"]  # fmt: skip


def test_an_architecture_that_nobody_knows_is_said_so(glue: Path) -> None:
    seen = found(glue, "only_f32", pairs=("G-A",), types=("F32",), whole_models=True, architectures=("phi9", "llama"))
    assert working(seen.architectures) == ["llama"]
    assert seen.contradictions() == [
        "phi9: claimed, but the gate has no model of it; it has llama, qwen2, gemma3, qwen3"
    ]


def test_files_are_tried_where_directories_are_refused(glue: Path) -> None:
    seen = found(glue, "only_files", pairs=("G-S", "S-G"), types=("F32",))
    assert working(seen.pairs) == ["G-S", "S-G"]
    assert working(seen.forms) == ["source as file", "target as file"]


def test_its_own_output_is_tried_where_others_are_refused(glue: Path) -> None:
    seen = found(glue, "only_own", pairs=("G-A", "A-G"), types=("F32",))
    assert working(seen.pairs) == ["G-A", "A-G"]
    assert (seen.pairs["G-A"].own, seen.pairs["A-G"].own) == (False, True)


def test_a_lost_tensor_is_noted(glue: Path) -> None:
    seen = found(glue, "loses", pairs=("G-A",), types=("F32",))
    assert seen.contradictions() == ["G-A: 10 F32, of 11 tensors"]


# What it does not believe


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nothing", "missing"), ("copies", "copied"), ("links", "linked"), ("empties", "empty"), ("lies", "unreadable"),
        ("no_tensors", "empty"), ("wrong_format", "format"), ("spoils", "touched"),
    ],
)  # fmt: skip
def test_exit_0_is_not_believed(glue: Path, name: str, kind: str, tmp_path: Path) -> None:
    pair = "S-G" if name == "wrong_format" else "A-G"
    seen = found(glue, name, pairs=(pair,), types=("F32",))
    assert not seen.works
    each = seen.pairs[pair]
    assert (each.run.outcome, each.flaw is not None and each.flaw.kind) == ("accepted", kind), each.reason


def test_a_safetensors_file_without_tensors_is_empty(glue: Path) -> None:
    seen = found(glue, "no_tensor", pairs=("G-S",), types=("F32",), safetensors_as="file")
    assert seen.pairs["G-S"].reason.startswith("empty: ")


def test_the_way_it_fell_is_told(glue: Path) -> None:
    seen = found(glue, "falls", pairs=("A-G",), types=("F32",))
    assert seen.pairs["A-G"].reason == "crashed: KeyError: 'blk.0'"


def test_silence_is_asked_once_for_each_pair(tmp_path: Path) -> None:
    seen = smoke(resolve("sh -c 'sleep 30' {src} {dst}", overrides={"time_limit": 0.1, "pairs": ("G-A", "G-S")}))
    assert [each.run.outcome for each in seen.attempts] == ["timeout", "timeout"]


def test_an_attempt_says_what_came_of_it(glue: Path) -> None:
    model = Path(__file__).parents[1] / "rosetta_ref/demo/tiny.gguf"
    with Workspace() as work:
        each = attempt(resolve("reference"), work, "G-A", model, sample="demo")
        assert each.works
        assert each.output is not None
        assert each.output.tensors > 0
        assert each.output.path.is_relative_to(work.path)


def test_reasons_that_differ_in_numbers_are_one(glue: Path) -> None:
    seen = smoke(resolve("sh -c 'echo unknown type $$ >&2; exit 1' {src} {dst}", overrides={"types": ("F32",)}))
    assert len({each.reason for each in seen.pairs.values()}) == 6
    assert [names for names, _ in failures(seen.pairs)] == [["G-A", "A-G", "G-S", "S-G", "A-S", "S-A"]]


# The command


def test_the_command_prints_what_was_found(glue: Path) -> None:
    code, out, err = run("--converter", f"{glue}:only_f32", "--pairs", "G-A,G-S", "--types", "F32,Q4_K")
    assert (code, err) == (0, "")
    assert "  G-A   works  llama F32" in out
    assert "types, G-A: F32\n" in out
    assert "Q2_0: refused: ValueError: only F32\n" in out
    assert "note: G-S: claimed, but refused: ValueError: from GGUF to APR\n" in out
    assert "one call: " in out


def test_the_command_prints_json(glue: Path) -> None:
    code, out, _ = run("--converter", f"{glue}:only_f32", "--types", "F32", "--json")
    about = json.loads(out)
    assert (code, about["works"], about["pairs"]["G-A"]["works"], about["pairs"]["A-G"]["works"]) == (
        0,
        True,
        True,
        False,
    )
    assert about["pairs"]["A-G"]["reason"] == "refused: ValueError: from GGUF to APR"
    assert about["types"]["G-A"]["F32"]["types"] == {"F32": 11}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_who_converts_nothing_is_told_what_it_said(more: tuple[str, ...]) -> None:
    command = f"{sys.executable} -S -c 'raise SystemExit(\"no such option --fast\")' {{src}} {{dst}}"
    code, _, err = run("--converter", command, "--types", "F32", *more)
    assert (code, "converts nothing: refused: exit code 1: no such option --fast" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--converter", "no-such"),
        ("--converter", "true {src}"),
        ("--converter", "no_such:convert"),
        ("--config", "/no/such.toml"),
    ],
)
def test_what_cannot_be_meant_is_exit_2(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out, err.startswith("error: ")) == (2, "", True)
