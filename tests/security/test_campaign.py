"""The campaign of hostile inputs: a slice of it in every run, and the proof that it sees each kind of fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from rosetta_ref import cli
from rosetta_ref.campaigns import draw, findings, hostile, planted, seeds
from rosetta_ref.campaigns.case import Case, Folder, Link, Pipe, Sparse
from rosetta_ref.campaigns.findings import CampaignError, Finding, Record, chunks
from rosetta_ref.campaigns.hostile import campaign, self_test
from rosetta_ref.campaigns.mutate import apr, gguf, proto
from rosetta_ref.campaigns.oracles import KINDS, Fault, faults
from rosetta_ref.campaigns.watch import Change, Limits, Used, may_write
from rosetta_ref.campaigns.worker import Ran

MAIN = "rosetta_ref.cli:main"
#: Executions of the slice, and of the night; other seeds than a campaign's own, which somebody runs anyway.
SLICE, NIGHT = 2_000, 20_000

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")


def said(record: Record) -> str:
    """The findings, one a line."""
    return "\n".join(
        f"{found.times} x {found.fault.key}: {found.fault.detail} (execution {found.number})" for found in record.most()
    )


@pytest.mark.parametrize(("seed", "executions"), [(1_000, SLICE), pytest.param(1_001, NIGHT, marks=pytest.mark.slow)])
def test_nothing_is_found(seed: int, executions: int, tmp_path: Path) -> None:
    record = campaign(Record.resumed(seed, tmp_path), executions, jobs=2, main=MAIN)
    assert record.executions == executions
    ran = Counter()
    for name, count in record.counts.items():
        if name.split(" ")[0] in draw.WEIGHTS:
            ran[name.split(" ")[0]] += count
    assert ran.total() == executions
    assert {"convert", "inspect", "validate", "diff", "score", "compare", "explain"} <= set(ran)
    # Inputs that are all refused, or all taken, would show little.
    assert 0.05 < record.counts["convert 0"] / ran["convert"] < 0.9
    assert not record.findings, said(record)


def test_each_kind_of_fault_is_seen() -> None:
    found = self_test(MAIN, most=12)
    assert [name for name, seen in found.items() if not seen] == []
    assert {kind for kind, _, _ in planted.FAULTS.values()} == set(KINDS)


@pytest.mark.parametrize("command", draw.WEIGHTS)
def test_an_execution_is_the_same_again(command: str) -> None:
    for number in range(12):
        one = draw.draw(5, number, command)
        assert one == draw.draw(5, number, command)
        assert Case.of_json(json.loads(json.dumps(one.as_json()))) == one
        assert one.command == command
    assert any(draw.draw(5, number, command) != draw.draw(6, number, command) for number in range(12))


DIGEST = """
import hashlib, json
from rosetta_ref.campaigns import draw
cases = [draw.draw(5, number).as_json() for number in range(150)]
print(hashlib.sha256(json.dumps(cases).encode()).hexdigest())
"""


def test_an_execution_is_the_same_in_every_process() -> None:
    """Whatever the order of sets and the time of the day: a number has to mean the same tomorrow."""
    told = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert len(told.pop().strip()) == 64


def test_every_seed_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the mutators break is whole: a seed that nobody reads would only show its own refusal."""
    for seed in seeds.of_format("gguf", "apr", "safetensors"):
        folder = tmp_path / seed.name
        Case([], dict(seed.files)).lay_out(folder)
        assert cli.main(["validate", str(folder / seed.main), "--quiet", "--lenient"]) in (0, 1)
        assert cli.main(["inspect", str(folder / seed.main), "--json"]) == 0, seed.name
    assert "Error" not in capsys.readouterr().err


def test_what_is_taken_apart_comes_together_again() -> None:
    for seed in seeds.of_format("gguf"):
        for data in seed.files.values():
            made, numbers = gguf.Sketch.of(data).joined()
            assert made == data, seed.name
            assert len(numbers) > 5
    for seed in seeds.of_format("apr"):
        data = seed.files["m.apr"]
        assert apr.sealed(apr.Sketch.of(data).joined()) == data, seed.name
    model = seeds.all_seeds()["hf-spm"].files["tokenizer.model"]
    assert proto.packed(proto.fields(model)) == model
    assert len(proto.fields(model)) > 100


def test_every_form_of_a_file_is_laid_out(tmp_path: Path) -> None:
    files = {
        "in/a": b"x",
        "in/b": Link("../outside"),
        "in/c": Pipe(),
        "in/d": Folder(),
        "in/e": Sparse(1 << 40),
        "in/f\0": b"",
    }
    Case([], files).lay_out(tmp_path)
    assert (tmp_path / "in/a").read_bytes() == b"x"
    assert (tmp_path / "in/b").readlink() == Path("../outside")
    assert (tmp_path / "in/c").is_fifo()
    assert (tmp_path / "in/d").is_dir()
    assert (tmp_path / "in/e").stat().st_size == 1 << 40
    assert len(list((tmp_path / "in").iterdir())) == 5


CONVERSION = Case(["convert", "in/m.gguf", "out/t"], {"in/m.gguf": b""}, target="out/t")


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("out/t", True), ("out/t/config.json", True), ("out/t/model-00001-of-00002.safetensors", True), ("out/t/rosetta/source.json", True),
        ("out/t/additional_chat_templates/a-b.jinja", True), ("out/t/conftest.py", False), ("out/t/.bash_profile", False), ("out/config.json", False),
        ("out/t/README.md", False), ("out/t/additional_chat_templates/a.py", False), ("out/t/additional_chat_templates/b/a.jinja", False),
        ("out/t/x/config.json", False), ("out/t/rosetta/x.safetensors", False), ("out/tt", False),
    ],
)  # fmt: skip
def test_a_conversion_writes_what_a_model_has(path: str, may: bool) -> None:
    assert may_write(CONVERSION, path) is may


@pytest.mark.parametrize(
    ("ran", "kind"),
    [
        (Ran(code=1, err="error: in/m.gguf: bad [XError: Rule.]\n"), None),
        (Ran(code=1, err="error: bad [XError: Rule.]\n"), "nameless"),
        (Ran(code=0, out="a\tb\n"), None),
        (Ran(code=0, out="a\u2028b\n"), "forged"),
        (Ran(code=0, out="  ::error::x\n"), "forged"),
        (Ran(code=2, err="error: the gate itself has failed: KeyError: 'a' (judge.py, line 3)\n"), "undeclared"),
        (Ran(raised="KeyError: 'a'", where="compare.py:f"), "undeclared"),
        (Ran(code=3), "exit-code"),
        (Ran(code=0, used=Used(cpu=1.5)), "cpu"),
        (Ran(code=0, used=Used(memory=300 << 20)), "memory"),
        (Ran(code=0, size=5 << 20), "output"),
        (Ran(code=0, native="thread 'x' panicked at src/lib.rs:3:1"), "undeclared"),
        (Ran(code=0, changed=[Change("case/out/t", "new"), Change("case/out/t/config.json", "new")]), None),
        (Ran(code=1, err="error: in/m.gguf: no [XError: Rule.]", changed=[Change("case/out/t", "new")]), "left"),
        (Ran(code=0, changed=[Change("case/out/t/numpy.py", "new")]), "outside"),
        (Ran(code=0, changed=[Change("case/new", "new")]), "outside"),
        (Ran(code=0, changed=[Change("outside/victim.txt", "gone")]), "outside"),
        (Ran(code=0, changed=[Change("tmp/x", "new")]), "left"),
        (Ran(code=0, changed=[Change("case/in/m.gguf", "gone")]), "source"),
        (Ran(code=0, sources=["in/m.gguf"]), "source"),
        (Ran(code=0, running=["process 7"]), "running"),
    ],
)  # fmt: skip
def test_what_is_a_fault(ran: Ran, kind: str | None) -> None:
    assert {fault.kind for fault in faults(CONVERSION, ran, Limits())} == ({kind} if kind else set())


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(hostile, "scratch", lambda: scratch)
    campaign(Record.resumed(3, tmp_path), 60, jobs=1, main=MAIN)
    assert not list(scratch.iterdir())
    first = Record.resumed(3, tmp_path)
    assert first.executions == 60
    assert first.done
    campaign(first, 110, jobs=1, main=MAIN)
    again = Record.resumed(3, tmp_path)
    assert again.executions == 110
    assert again.counts == first.counts
    assert again.counts.total() >= 110
    with pytest.raises(CampaignError, match="begun with seed 3, not 4"):
        Record.resumed(4, tmp_path)


def test_stretches_leave_out_what_is_done() -> None:
    assert list(chunks(25, [(10, 15)], 10)) == [(0, 10), (15, 25)]
    assert list(chunks(25, [(0, 10), (20, 25)], 10)) == [(10, 20)]
    assert list(chunks(25, [], 10)) == [(0, 10), (10, 20), (20, 25)]
    assert not list(chunks(25, [(0, 25)], 10))


def test_a_finding_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = draw.draw(0, 3, "inspect")
    fault = Fault("nameless", "inspect", "a\nplace", "words\n::error::x")
    folder = tmp_path / Finding(fault, 3).name
    findings.write(folder, fault, case, "seed 0, execution 3")
    assert findings.read(folder) == case
    told = (folder / "finding.txt").read_text()
    assert f"--replay {folder}" in told
    assert "\n::error" not in told
    assert cli.main(["campaign", "hostile", "--replay", str(folder)]) in (0, 1)
    assert case.line in capsys.readouterr().out
    (folder / "case.json").write_text("[]")
    assert cli.main(["campaign", "hostile", "--replay", str(folder)]) == 2
    assert "case.json" in capsys.readouterr().err


def test_a_number_is_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["campaign", "hostile", "--only", "7", "--seed", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == (1 if told["faults"] else 0)
    assert told["line"] == draw.draw(2, 7).line
