"""A folder once more: what replay says, what it refuses, and the folder as a test of a project."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.cli import main
from rosetta_ref.convert import convert
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Entry, Run
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.folder.expected import FolderError, load
from rosetta_ref.reduce.folder.replay import DIFFERENTLY, ERROR, FAILED, FIXED, replay
from rosetta_ref.reduce.run import Asked, run
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter
from rosetta_ref_pytest import is_ours
from tests.support.few import few_members
from tests.support.plugin import PLUGIN

BUG = "k-scales-bit-stream"
ENTRY = Entry("made up", function="none:none", pairs=PAIRS, whole_models=False)


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Which of all the members is named is asked by test_diagnosis and test_zoo."""
    with few_members(BUG):
        yield


class MadeUp:
    """A converter that does what it is told."""

    def __init__(self, act: Callable[[Path, Path], Run]) -> None:
        self.entry, self._act = ENTRY, act

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Do it."""
        return self._act(src, dst)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one bug."""
    place = tmp_path_factory.mktemp("replay")
    make = MEMBERS[BUG].shown_by
    assert make is not None
    return run(converter(MEMBERS[BUG]), Asked(make(place), "safetensors", output=place / "out")).folder


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def as_member(name: str) -> Callable[[Path, Path], Run]:
    def act(src: Path, dst: Path) -> Run:
        MEMBERS[name].convert(src, dst)
        return Run(ACCEPTED, 0)

    return act


def touching(src: Path, dst: Path) -> Run:
    (src.parent / "beside.txt").write_text("left by a converter")
    convert(src, dst, keep_names=True)
    return Run(ACCEPTED, 0)


@pytest.mark.parametrize(
    ("act", "word", "code"),
    [
        (as_member(BUG), FAILED, 1),
        (as_member("shape-not-reversed"), DIFFERENTLY, 1),
        (lambda src, dst: Run(REFUSED, 1, stderr="no"), ERROR, 2),
        (lambda src, dst: Run(CRASHED, None, detail="signal 11"), ERROR, 2),
        (lambda src, dst: Run(TIMEOUT, None), ERROR, 2),
        (lambda src, dst: Run(ACCEPTED, 0), ERROR, 2),
        (touching, FIXED, 0),
    ],
)
def test_what_it_says(act: Callable[[Path, Path], Run], word: str, code: int, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = replay(folder, MadeUp(act))
    assert (found.word, found.exit_code) == (word, code), found.detail
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


TENSOR = {"name": "a", "type": "F32", "shape": [1], "bytes": "0000803f", "values": ["1"]}
FINGERPRINT = {"gate": "F-CONV-003", "kind": "values", "subject": "", "cause": [], "type": "Q4_K"}


def _changed(own: Path, **fields: object) -> None:
    values = json.loads((own / "expected.json").read_text())
    (own / "expected.json").write_text(json.dumps({**values, **fields}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda own: (own / "input.gguf").write_bytes(b"GGUF other bytes"),
        lambda own: (own / "input.gguf").unlink(),
        lambda own: (own / "expected.json").write_text("no JSON"),
        lambda own: (own / "expected.json").write_text("[]"),
        lambda own: _changed(own, format=99),
        lambda own: _changed(own, files={}),
        lambda own: _changed(own, files={"../outside.gguf": "0"}),
        lambda own: _changed(own, input="../outside.gguf"),
        lambda own: _changed(own, target_format="onnx"),
        lambda own: _changed(own, fingerprint={"gate": "F-CONV-003"}),
        lambda own: _changed(own, format=True),
        lambda own: _changed(own, files=["input.gguf"]),
        lambda own: _changed(own, input=5),
        lambda own: _changed(own, input="."),
        lambda own: _changed(own, input="report.md"),
        lambda own: _changed(own, source_format=[]),
        lambda own: _changed(own, safetensors_as="banana"),
        lambda own: _changed(own, asked=5),
        lambda own: _changed(own, converter=5),
        lambda own: _changed(own, loses="values"),
        lambda own: _changed(own, expected=[]),
        lambda own: _changed(own, expected={"a": {}}),
        lambda own: _changed(own, expected={"a": {**TENSOR, "bytes": "zz"}}),
        lambda own: _changed(own, expected={"a": {**TENSOR, "shape": ["x"]}}),
        lambda own: _changed(own, fingerprint={**FINGERPRINT, "cause": 5}),
        lambda own: (own / "expected.json").unlink(),
    ],
)
def test_a_spoilt_folder_is_refused_with_its_name(spoil: Callable[[Path], object], own: Path) -> None:
    (own.parent / "outside.gguf").write_bytes(b"GGUF")
    spoil(own)
    with pytest.raises(FolderError, match=r"expected\.json"):
        load(own)
    assert main(["replay", str(own), "--converter", "reference"]) == 2
    assert main(["explain", str(own)]) == 2


def test_what_it_is_spoilt_from_is_right(own: Path) -> None:
    _changed(own, expected={"a": TENSOR}, fingerprint=FINGERPRINT)
    assert load(own).fingerprint.kind == "values"
    assert main(["explain", str(own)]) == 0


def test_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(folder), "--converter", "reference"]) == 0
    assert capsys.readouterr().out.startswith("FIXED: 256 elements")
    assert main(["replay", str(folder / "nowhere"), "--converter", "reference"]) == 2
    assert main(["explain", str(folder)]) == 0
    assert "scales" in capsys.readouterr().out


def test_nothing_wrong_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make = MEMBERS[BUG].shown_by
    assert make is not None
    source = make(tmp_path)
    for gate in ([], ["--gate", "F-CONV-META-001"]):
        assert (
            main(
                [
                    "shrink",
                    str(source),
                    "--to",
                    "apr",
                    "--converter",
                    "reference",
                    "--output",
                    str(tmp_path / "o"),
                    *gate,
                ]
            )
            == 1
        )
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_below_failures_it_is_a_test(own: Path, tmp_path: Path) -> None:
    """Red while the project's converter is broken, green when it is not, clear where nobody says which converter is meant."""
    project = tmp_path / "project"
    shutil.copytree(own, project / "tests" / "failures" / own.name)
    (project / "bad.py").write_text(
        f"from rosetta_ref.zoo import MEMBERS\n\n\ndef convert(src, dst):\n    MEMBERS[{BUG!r}].convert(src, dst)\n"
    )
    (project / "good.py").write_text("from rosetta_ref.gate.adapters.reference import convert\n")

    def ended() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *PLUGIN, "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
            cwd=project, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    code, said = ended()
    assert (code, "no converter" in said) == (1, True), said
    (project / "rosetta.toml").write_text('[converters.mine]\nfunction = "bad.py:convert"\n')
    code, said = ended()
    assert (code, "FAILED: tensor 'a'" in said) == (1, True), said
    (project / "rosetta.toml").write_text('[converters.mine]\nfunction = "good.py:convert"\n')
    code, said = ended()
    assert (code, "1 passed" in said) == (0, True), said


def scaled(*elements: int) -> Callable[[Path, Path], Run]:
    """Right, but for some elements of each tensor, which are twice as large and one more: a bug that nobody knows."""

    def act(src: Path, dst: Path) -> Run:
        made = {}
        for name, tensor in gguf.read(src).tensors.items():
            values = tensor.values().reshape(-1).copy()
            for element in elements:
                values[element] = 2 * values[element] + 1
            made[name] = Tensor.of(name, TYPES["F32"], tensor.shape, values)
        dst.mkdir()
        safetensors.write(Archive("safetensors", {}, made), dst / "model.safetensors")
        return Run(ACCEPTED, 0)

    return act


def test_of_a_bug_without_a_name_the_numbers_must_be_the_same(tmp_path: Path) -> None:
    make = MEMBERS[BUG].shown_by
    assert make is not None
    made = run(MadeUp(scaled(7)), Asked(make(tmp_path), "safetensors", output=tmp_path / "out"))
    assert not made.found.fingerprint.cause
    assert replay(made.folder, MadeUp(scaled(7))).word == FAILED
    for others in (scaled(6), scaled(7, 9)):
        assert replay(made.folder, MadeUp(others)).word == DIFFERENTLY
    assert replay(made.folder, MadeUp(scaled())).word == FIXED


def test_what_was_not_promised_then_is_not_asked_for_now(own: Path) -> None:
    _changed(own, loses=["values"])
    assert replay(own, MadeUp(as_member(BUG))).word == FIXED


def test_another_form_of_safetensors_may_be_asked_for(folder: Path, tmp_path: Path) -> None:
    asked = ["replay", str(folder), "--converter", "reference", "--keep", str(tmp_path / "kept")]
    assert main([*asked, "--safetensors-as", "file"]) == 0
    assert (tmp_path / "kept").is_file()


@pytest.mark.parametrize("text", ['{"answer": 42}', "[]", "{", '{"fingerprint": {"gate": "ours"}}', '"F-CONV-003"'])
def test_files_of_that_name_that_are_not_ours_are_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "failures" / "case" / "expected.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert not is_ours(path)


def test_a_folder_of_ours_that_cannot_be_read_is_still_a_test(own: Path) -> None:
    assert is_ours(own / "expected.json")
    (own / "expected.json").write_bytes((own / "expected.json").read_bytes()[:-9])
    assert is_ours(own / "expected.json")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--jobs", "0"], "from 1 on"),
        (["--jobs", "-1"], "from 1 on"),
        (["--max-calls", "0"], "from 1 on"),
        (["--examples", "x"], "from 1 on"),
        (["--examples", "0"], "from 1 on"),
        (["--max-seconds", "nan"], "number of seconds"),
        (["--max-seconds", "0"], "number of seconds"),
        (["--type", "BANANA"], "unknown type"),
        (["--gate", "F-CONV-007"], "none of F-CONV-001"),
    ],
)
def test_mistakes_in_the_command_are_said(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["shrink", "model.gguf", "--to", "apr", "--converter", "reference", *flags])
    assert said in capsys.readouterr().err


def test_paths_that_are_none_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    asked = ["shrink", str(tmp_path / "nowhere.gguf"), "--to", "apr", "--converter", "reference"]
    assert main(asked) == 2
    assert "no such file" in capsys.readouterr().err
    assert main([*asked[:1], str(tmp_path / "file"), *asked[2:], "--output", str(tmp_path / "file")]) == 2
    assert "it is a file" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "file"), "--converter", "reference"]) == 2
    assert "there is no expected.json" in capsys.readouterr().err


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make = MEMBERS[BUG].shown_by
    assert make is not None
    bad = tmp_path / "bad.py"
    bad.write_text(
        f"from rosetta_ref.zoo import MEMBERS\n\n\ndef convert(src, dst):\n    MEMBERS[{BUG!r}].convert(src, dst)\n"
    )
    source = make(tmp_path)
    asked = [
        "shrink",
        str(source),
        "--to",
        "safetensors",
        "--converter",
        f"{bad}:convert",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main([*asked, "--json", "--max-calls", "5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["before"] == source.stat().st_size > found["bytes"]
    assert found["notes"][0].startswith("it ended early")
    assert found["replay"].startswith(f"rosetta-ref replay {found['folder']} --converter=")
