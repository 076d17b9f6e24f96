"""A gate that is stopped leaves what it had, and says that it is partial."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import jsonschema
import pytest

from rosetta_ref.gate.report.files import schema
from tests.test_interrupted import ROOT, takes_interrupts, waited

#: Wrong for every input, at once; the fourth call hangs.
SLOW = """
    import os, sys, time
    source, target = sys.argv[1:]
    with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as file:
        file.write("x")
        number = file.tell()
    if number == 4:
        time.sleep(600)
    with open(target, "wb") as file:
        file.write(open(source, "rb").read()[:100])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_gate_that_is_stopped_leaves_what_it_had(number: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    command = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(tmp_path / 'slow.py'))} {{src}} {{dst}}"
    words = ["gate", "--pairs=G-A", "--jobs=1", "--output=out", "--time-limit=300", "--converter", command]
    child = subprocess.Popen(
        [sys.executable, "-m", "rosetta_ref.cli", *words], cwd=tmp_path, text=True, preexec_fn=takes_interrupts,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert waited(lambda: (tmp_path / "calls").exists() and len((tmp_path / "calls").read_text()) >= 4)
        child.send_signal(number)
        out, err = child.communicate(timeout=40)
    finally:
        child.kill()
    assert child.returncode == code, err
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    jsonschema.validate(found, schema("result"))
    partial = found["partial"]
    assert partial["stopped"] == ("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
    assert 0 < partial["answered"] == len(found["cases"]) < partial["planned"]
    assert {case["outcome"] for case in found["cases"]} <= {"Falsified", "Skipped"}, "what was killed is no verdict"
    assert found["verdict"]["exit_code"] == 2
    assert found["whole"] is False
    assert "F-CONV-001" in out
    assert "partial (stopped by" in err
    assert "F-CONV-SAFE-001 (0 of" in err
    assert any((tmp_path / "out" / "reproductions").iterdir())
