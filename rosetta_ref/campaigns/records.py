"""What the gate and shrink leave behind, and what people write for them, tiny and valid: evidence, results, a folder to replay."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any

from rosetta_ref.campaigns.case import Node
from rosetta_ref.campaigns.seeds import all_seeds

_CASES: tuple[tuple[str, str, str, list[str]], ...] = (
    ("F-CONV-001/f32/two-rows/index-coded", "F-CONV-001", "Corroborated", []),
    ("F-CONV-003/q4_0/two-rows/special", "F-CONV-003", "Falsified", ["values"]),
    ("F-CONV-RT-001/q8_0/scalar", "F-CONV-RT-001", "Skipped", []),
    ("F-CONV-SAFE-001/gguf/cut", "F-CONV-SAFE-001", "Crashed", ["crashed"]),
)


def _evidence(case: str, gate: str, outcome: str, kinds: list[str]) -> dict[str, Any]:
    return {
        "id": hashlib.sha256(case.encode()).hexdigest()[:32], "gate_id": gate, "outcome": outcome, "reason": "why",
        "output": "", "stderr": "",
        "scenario": {"model": {"org": "o", "name": "n", "variant": None}, "format": "gguf to apr", "backend": "b",
         "prompt": "", "seed": 0},
        "exit_code": 0, "metrics": {"duration_ms": 1, "memory_peak_mb": None}, "timestamp": "2026-01-01T00:00:00.000Z",
        "host": {"hostname": "h", "os": "o", "cpu": "c", "gpu": None, "apr_version": None},
        "metadata": {"case": case, "compared": {"unit": "elements", "expected": 4, "compared": 4, "bytes": 16}, "kinds": kinds},
    }  # fmt: skip


def _result(case: str, gate: str, outcome: str, kinds: list[str]) -> dict[str, Any]:
    return {
        "case": case, "gate": gate, "outcome": outcome, "reason": "why", "findings": [{"kind": kind, "gate": gate,
         "detail": "d"} for kind in kinds],
        "compared": {"unit": "elements", "expected": 4, "compared": 4, "bytes": 16}, "notes": [], "seed": 0, "seconds": 0.1,
        "exit_code": 0,
    }  # fmt: skip


EVIDENCE = json.dumps([_evidence(*case) for case in _CASES]).encode()
RESULT = json.dumps({
    "format": 1, "converter": {"name": "c", "pairs": ["G-A"]}, "versions": {"python": "3"}, "seed": 0, "profile": "default",
    "whole": True,
    "gates": {"F-CONV-001": {"Corroborated": 1}}, "verdict": {"exit_code": 1}, "score": None,
    "cases": [_result(*case) for case in _CASES],
}).encode()  # fmt: skip

EXPECTATIONS = b"""\
- pattern: F-CONV-001/q5_0/*
  outcome: Falsified
  kinds: [values, nan]
  reason: the fifth bit is read from the wrong byte
  issue: https://example.org/1
  strict: false
  when: python >= 3.0 and platform == linux
  expires: 2099-01-31
- pattern: [F-CONV-003/f32/*, "F-CONV-*/bf16/*"]
  outcome: Crashed
  reason: it does
"""

ENTRIES = b"""\
[converters.c]
function = "c.py:convert"
pairs = ["G-A", "A-G", "G-S", "S-G", "A-S", "S-A"]
architectures = ["llama"]
types = ["F32", "F16", "Q8_0"]
safetensors-as = "directory"
time-limit = 5
memory-limit = "1GiB"
lossless = true
whole-models = false
loses = ["special"]
expectations = "e.yaml"
"""

#: Copies what was prepared beside it, as the suffix of the target says.
CONVERTER = b"""\
import os, shutil
HERE = os.path.dirname(os.path.abspath(__file__))
def convert(src, dst, type=None):
    made = os.path.join(HERE, "o" + os.path.splitext(str(dst))[1])
    (shutil.copytree if os.path.isdir(made) else shutil.copyfile)(made, dst)
"""


@cache
def folder() -> dict[str, bytes]:
    """A folder of shrink, by name."""
    source, target = all_seeds()["gguf-bare"].files["m.gguf"], all_seeds()["apr-of-gguf-bare"].files["m.apr"]
    tensor = {"name": "t", "type": "F32", "shape": [1], "bytes": "0000803f", "values": ["1"]}
    expected = {
        "format": 1, "fingerprint": {"gate": "F-CONV-001", "kind": "values", "subject": "", "cause": [], "type": "F32"},
        "source_format": "gguf", "target_format": "apr", "input": "input.gguf",
        "files": {"input.gguf": hashlib.sha256(source).hexdigest()}, "asked": None, "safetensors_as": "directory", "loses": [],
        "converter": {"name": "c", "command": None, "function": "c.py:convert"}, "expected": {"t": tensor},
        "wrong": {"count": 1, "first": {"index": [0], "actual": "2", "expected": "1"}}, "versions": {"rosetta-ref": "0.1.0"},
    }  # fmt: skip
    return {
        "expected.json": json.dumps(expected).encode(), "input.gguf": source, "actual.apr": target,
        "evidence.json": json.dumps([_evidence(*_CASES[1])]).encode(), "README.md": b"# F-CONV-001\n",
    }  # fmt: skip


def redigest(files: dict[str, Node]) -> None:
    """Let expected.json have the digests of the files that are there, so that they get past the first check."""
    text = files.get("in/f/expected.json")
    if not isinstance(text, bytes):
        return
    try:
        record = json.loads(text)
        for name in record["files"]:
            data = files.get(f"in/f/{name}")
            if isinstance(data, bytes):
                record["files"][name] = hashlib.sha256(data).hexdigest()
        files["in/f/expected.json"] = json.dumps(record).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return
