"""What must not change while code moves is as tests/support/freeze.json says: all of it by night, a slice of it in every run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import freeze
from tests.support.freeze_parts import EXAMPLE, Part, overlapping, parts
from tests.support.freeze_rounds import GOLDEN
from tests.support.freeze_words import FIELDS, ROOT, RULES, plain, plain_json

KEPT, _ = freeze.load(freeze.KEPT)
#: Some of each kind that takes no time: the documents, a model of each format with both ways around, the options.
QUICK = (
    "documents", "options", "round/tiny.gguf", "round/apr-rosetta/aprender-0.25.0/qwen2-q4km.apr", "round/apr/streamed.apr",
    "round/convert-hf/qwen2-tied-sharded/hf",
)  # fmt: skip


def test_a_slice_is_as_it_was() -> None:
    chosen = [part for part in parts() if part.name in QUICK]
    assert len(chosen) == len(QUICK)
    found = freeze.differences(KEPT, freeze.digests(freeze.record(chosen)), chosen)
    assert not found, f"python -m tests.support.freeze --help says how to see what differs: {found}"


@pytest.mark.slow
def test_all_is_as_it_was(tmp_path: Path) -> None:
    """In another folder, and with texts hashed otherwise, than the recording that is kept."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.freeze", "--jobs", str(min(2, os.cpu_count() or 1))],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "17", "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-2000:]}"


def test_every_item_is_of_a_part_and_every_part_has_one() -> None:
    every = parts()
    assert [name for name in KEPT if not any(freeze.of_part(name, part) for part in every)] == []
    missing = [part.name for part in every if not any(freeze.of_part(name, part) for name in KEPT)]
    assert missing == []
    assert len({part.name for part in every}) == len(every)


def test_every_golden_model_goes_around() -> None:
    there = {path.parent if path.name == "config.json" else path for path in GOLDEN.rglob("*") if _is_a_model(path)}
    gone = {part.name.removeprefix("round/") for part in parts() if part.name.startswith("round/")}
    assert gone == {*(path.relative_to(GOLDEN).as_posix() for path in there), "tiny.gguf"}


def _is_a_model(path: Path) -> bool:
    return path.suffix in (".gguf", ".apr") or path.name == "config.json"


BEFORE_AND_AFTER = [
    (f"{sys.executable} -m rosetta_ref.zoo a", "python -m rosetta_ref.zoo a"),
    ("/usr/lib/python3/site-packages/gguf/quants.py:288: W", "(libraries)/gguf/quants.py: W"),
    (f"{ROOT}/rosetta_ref/gate/adapters/reference.py:convert", "(package)/reference.py:convert"),
    (f"{ROOT}/fixtures/a.gguf", "(repository)/fixtures/a.gguf"),
    (f"{tempfile.gettempdir()}/freeze-ab_1/tmp/rosetta-gate-x1_2/00017/model.gguf: no", "(temporary)/model.gguf: no"),
    (
        'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    x\nE: no\n',
        "Traceback (most recent call last):\nE: no\n",
    ),
    ('y\n  File "a.py", line 3, in f\n    x\nE: no\n', "(the end of a traceback)\nE: no\n"),
    ("rosetta_ref.formats.gguf.errors.NotGgufError: no", "NotGgufError: no"),
    ("by `python -m rosetta_ref.quant.document > docs/a.md`", "by `python -m (module) > docs/a.md`"),
    ("Found with rosetta-ref 0.1.0, python 3.11.7, numpy 2.4.6; 5 conversions", "Found with (versions); 5 conversions"),
    ("70 cases, 12.3 s", "70 cases, (time) s"),
]


@pytest.mark.parametrize(("before", "after"), BEFORE_AND_AFTER)
def test_what_is_left_out(before: str, after: str) -> None:
    assert plain(before) == after
    assert plain(after) == after


def test_every_rule_has_an_example_and_a_reason() -> None:
    texts = [before for before, _ in BEFORE_AND_AFTER]
    for rule in RULES:
        after = [rule.pattern.sub(rule.new, text) for text in texts]
        assert after != texts, rule.why
        assert rule.why
        texts = after


@pytest.mark.parametrize(
    "text", ["0.5 of 12", "1,024 of 4,096 elements", "byte 0x22d1", "a  \n", "line 3", "rosetta_ref.gate"]
)
def test_what_stays(text: str) -> None:
    assert plain(text) == text


def test_fields_of_json_lose_their_value_alone() -> None:
    assert plain_json('{"kind": "lost", "seconds": 1.5, "cases": [{"memory": 3, "b": 1}]}') == {
        "kind": "lost", "seconds": "(seconds)", "cases": [{"memory": "(memory)", "b": 1}],
    }  # fmt: skip
    assert all(FIELDS.values())


PARTS = [Part("gate/one", lambda _: {}), Part("zoo", lambda _: {})]


def test_differences_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = {"gate/one/a": "x\ny\n", "zoo/b": b"\xff", "zoo/c": "same"}
    new = {"gate/one/a": "x\nz\n", "zoo/c": "same", "zoo/d": ""}
    freeze.keep(old, tmp_path / "old")
    freeze.keep(new, tmp_path / "new")
    sums = [freeze.load(tmp_path / name)[0] for name in ("old", "new")]
    found = freeze.differences(*sums, PARTS)
    assert found == {"gate/one/a": "changed", "zoo/b": "gone", "zoo/d": "new"}
    freeze.report(found, tmp_path / "old", tmp_path / "new", [{"gguf": "1"}, {"gguf": "2"}])
    told = capsys.readouterr().out
    assert "changed: gate/one/a\n" in told
    assert "  -y\n  +z\n" in told
    assert "note: gguf was 1, and is 2\n" in told
    assert list(freeze.differences(*sums, PARTS[:1])) == ["gate/one/a"]
    assert freeze.differences(sums[0], sums[0], PARTS) == {}


def test_a_folder_that_is_no_recording_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="holds something else"):
        freeze.keep({"a": "b"}, tmp_path)
    assert (tmp_path / "mine.txt").exists()


def test_the_input_that_is_malformed_differs_in_one_offset() -> None:
    data = (GOLDEN / "apr-rosetta" / "source" / "llama-q4km.gguf").read_bytes()
    changed = [place for place, (a, b) in enumerate(zip(data, overlapping(data), strict=True)) if a != b]
    assert changed
    assert changed[-1] - changed[0] < 8


def test_the_example_is_there() -> None:
    assert (EXAMPLE / "convert.py").is_file()
