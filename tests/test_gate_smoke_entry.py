"""What smoke prints to paste is an entry: read again, it claims what was found, and contradicts nothing."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from rosetta_ref.cli import main
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.converter.function import Function
from rosetta_ref.gate.converter.named import read_entries
from rosetta_ref.gate.smoke import attempt as attempts
from rosetta_ref.gate.smoke.paste import as_toml
from rosetta_ref.gate.smoke.smoke import Findings, smoke
from rosetta_ref.quant import TYPES

GLUE = """
    import sys
    from rosetta_ref.convert import convert as reference

    def picky(src, dst):
        # From GGUF to APR; llama alone; no F16 in GGUF, and no tensors that are no model.
        if src.suffix != ".gguf" or dst.suffix != ".apr":
            raise ValueError("from GGUF to APR")
        from rosetta_ref.formats import gguf
        with gguf.read(src) as archive:
            kinds = {tensor.type.name for tensor in archive.tensors.values()}
            known = archive.metadata.get("general.architecture")
            if "F16" in kinds or known is None or known.data != "llama":
                raise ValueError("not this one")
        reference(src, dst)

    def always_a_directory(src, dst):
        reference(src, dst.with_suffix("")) if src.suffix == ".gguf" else exec("raise ValueError('only GGUF')")
        if dst.suffix:
            dst.with_suffix("").rename(dst)

    def exits(src, dst):
        if src.suffix != ".gguf" or dst.suffix != ".apr":
            sys.exit(7)
        reference(src, dst)
"""


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glue") / "glue.py"
    path.write_text(textwrap.dedent(GLUE))
    return path


@pytest.fixture(autouse=True)
def _few_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rosetta_ref.gate.smoke.smoke.TYPES", {name: TYPES[name] for name in ("F32", "F16", "BF16", "Q8_0", "Q4_K")}
    )


def found(glue: Path, name: str, **fields: object) -> Findings:
    return smoke(Function(Entry(f"{glue}:{name}", function=f"{glue}:{name}", **fields)))  # type: ignore[arg-type]


def read(text: str, folder: Path) -> Entry:
    (folder / "rosetta.toml").write_text(text)
    (entry,) = read_entries(folder / "rosetta.toml").values()
    return entry


def test_what_was_found_is_an_entry(glue: Path, tmp_path: Path) -> None:
    entry = read(as_toml(found(glue, "picky", refuse_exit=(9,))), tmp_path)
    assert (entry.name, entry.function) == ("picky", f"{glue}:picky")
    assert (entry.pairs, entry.architectures, entry.whole_models) == (("G-A",), ("llama",), True)
    assert (set(entry.types or ()), entry.refuse_exit, entry.rope_scaling) == (
        {"F32", "BF16", "Q8_0", "Q4_K"},
        (9,),
        None,
    )
    assert smoke(Function(entry)).contradictions() == []


def test_the_command_prints_it(glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--converter", f"{glue}:exits", "--quiet"]) == 0
    assert main(["smoke", "--converter", f"{glue}:exits"]) == 0
    text = textwrap.dedent(capsys.readouterr().out.partition("the entry, for a rosetta.toml:\n")[2])
    assert read(text, tmp_path).pairs == ("G-A",)
    assert "# refuse_exit = [7]  # where this code is how it refuses" in text


def test_a_directory_is_no_file(glue: Path) -> None:
    seen = found(glue, "always_a_directory")
    works = [name for name, each in seen.forms.items() if each.works]
    assert works == ["target as directory"]
    assert "is a directory, where a file was asked for" in seen.forms["target as file"].reason


def test_nothing_that_works_is_no_entry(glue: Path) -> None:
    assert as_toml(Findings(Entry("x", function=f"{glue}:picky"))) == ""


def test_a_type_that_one_format_takes_and_another_does_not(tmp_path: Path) -> None:
    def tried(works: bool, pair: str) -> attempts.Attempt:
        output = attempts.Output(tmp_path, {"F32": 1}) if works else None
        return attempts.Attempt(pair, "s", attempts.Run("accepted" if works else "refused"), "file", output=output)

    seen = Findings(Entry("x y.exe", command='x "y" {src} {dst}', loses=("special",)))
    seen.pairs = {pair: tried(True, pair) for pair in ("G-A", "A-G")}
    seen.types = {
        "G-A": {"BF16": tried(True, "G-A")},
        "A-G": {"BF16": tried(False, "A-G"), "Q8_0": tried(False, "A-G")},
    }
    entry = read(as_toml(seen), tmp_path)
    assert (entry.name, entry.types, entry.loses) == ("x-y", ("BF16",), ("special", "apr/bf16"))
