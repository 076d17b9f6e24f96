"""Names and words of strangers in what the gate prints: no line of a log, a summary or a report can be forged with them."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.findings import FALSIFIED, Finding, Result
from rosetta_ref.gate.report import files, history, summary
from rosetta_ref.gate.report.verdict import RunVerdict, judge
from tests.support.plugin import PLUGIN

ROOT = Path(__file__).parents[2]
#: A line that a CI service obeys, what clears a terminal, turns text around, ends lines elsewhere, or is a tag.
HOSTILE = "a\n::error::forged\r\n##[error]forged\x1b[2J\x1b]0;t\x07\u202egnp\u2028::warning::x\u2029\x85\x00\ud800<img src=x>|`` ` ```[x](y)\n# head"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def hostile() -> tuple[list[Result], RunVerdict, Entry]:
    finding = Finding("values", "F-CONV-001", HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1)
    result = Result(
        f"F-CONV-001/{HOSTILE}", "F-CONV-001", FALSIFIED, HOSTILE, expected=1, compared=1, findings=[finding]
    )
    result.stdout = result.stderr = HOSTILE
    result.diagnosis, result.link = HOSTILE, HOSTILE
    return [result], judge([result], [], record_date()), Entry(HOSTILE, command=HOSTILE)


def record_date() -> object:
    import datetime

    return datetime.date(2026, 1, 1)


def requires_quiet(text: str) -> None:
    """No command of a CI service, nothing that steers."""
    assert not STEERING.search(text), STEERING.search(text)
    assert not re.search(r"(?m)^\s*::", text)
    assert "##[" not in text


def test_a_summary_in_markdown_holds_no_command() -> None:
    results, verdict, entry = hostile()
    text = summary.markdown(results, verdict, entry)
    requires_quiet(text)
    assert len(text.splitlines()) < summary.MOST_LINES
    assert len([line for line in text.splitlines() if line.startswith("#")]) == 1
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert not re.search(r"(?<!\\)[<>]", outside), outside
    for line in text.splitlines():
        assert not line.startswith("|") or line.count("|") - line.count("\\|") == 7


def test_a_terminal_holds_no_command() -> None:
    results, verdict, entry = hostile()
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=False)
    for part in summary.tables(results, verdict, entry):
        console.print(part)
    requires_quiet(out.getvalue())


def test_words_of_many_megabytes_are_cut() -> None:
    words = "x" * 20_000_000
    finding = Finding("values", "F-CONV-001", words, words, words, words, 1)
    result = Result("F-CONV-001/x", "F-CONV-001", FALSIFIED, str(finding), expected=1, compared=1, findings=[finding])
    verdict, entry = judge([result], [], record_date()), Entry("x", command="true {src} {dst}")
    assert len(summary.markdown([result], verdict, entry)) < 20_000
    text = json.dumps(files.result_json([result], verdict, entry, files.RunInfo()))
    assert len(text) < 100_000


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    results, verdict, entry = hostile()
    files.write_result(tmp_path / "result.json", results, verdict, entry, files.RunInfo())
    found = history.read(tmp_path / "result.json")
    requires_quiet(str(history.Then(found["cases"][0]["case"], "Falsified", None, HOSTILE)))


CONVERTER = """
import json, os, shutil, sys
from rosetta_ref.convert import convert
convert(sys.argv[1], sys.argv[2])
path = os.path.join(sys.argv[2], "config.json")
config = json.load(open(path))
config["architectures"] = 5
config["model_type"] = {0!r}
json.dump(config, open(path, "w"))
sys.stderr.buffer.write({0!r}.encode("utf-8", "replace"))
"""


@pytest.mark.parametrize("how", ["gate", pytest.param("pytest", marks=pytest.mark.slow)])
def test_an_odd_output_is_a_failure_of_its_case_alone(how: str, tmp_path: Path) -> None:
    """From the command line and in pytest: no internal error, no command in the log, a JUnit file that XML parsers read."""
    (tmp_path / "odd.py").write_text(CONVERTER.format(HOSTILE.replace("\ud800", "")))
    called = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'odd.py'))} {{src}} {{dst}}"
    case = "F-CONV-META-001/G-S/llama-f32-tied"
    given = [f"--converter={called}", "--pairs=G-S", "--architectures=llama", "--whole-models"]
    words = (
        ["-m", "rosetta_ref.cli", "gate", f"--case={case}", "--no-reproductions", f"--output={tmp_path / 'out'}"]
        if how == "gate"
        else ["-m", "pytest", *PLUGIN, "--pyargs", "rosetta_ref.gate", "-p", "no:cacheprovider", f"--gate-case={case}",
              "--gate-no-reproductions", f"--gate-output={tmp_path / 'out'}", f"--junitxml={tmp_path / 'junit.xml'}"]
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, *words, *given], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1, (done.stdout[-3000:], done.stderr[-3000:])
    assert "INTERNALERROR" not in done.stdout
    assert "Traceback" not in done.stderr
    requires_quiet(done.stdout.replace("\r", ""))
    requires_quiet((tmp_path / "out" / "summary.md").read_text())
    (found,) = history.read(tmp_path / "out" / "result.json")["cases"]
    assert [finding["kind"] for finding in found["findings"]] == ["unreadable"]
    if how == "pytest":
        suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
        assert [len(suite.findall(f".//{word}")) for word in ("failure", "error")] == [1, 0]
