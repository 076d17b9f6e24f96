"""Evidence in the form that the gates of the field read: a JSON list with an object per case.

The field names are an interface (`id`, `gate_id`, `scenario`, `outcome`, `metrics`, ...): those of aprender's QA playbook. What
this project adds stands under `metadata`. There is no NaN and no Infinity in it: JSON has none.
"""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import socket
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CORROBORATED, FALSIFIED = "Corroborated", "Falsified"


def entry(
    gate_id: str,
    outcome: str,
    reason: str,
    *,
    model: Path,
    format: str,  # noqa: A002 (the field's name)
    backend: str,
    prompt: str = "",
    output: str = "",
    exit_code: int = 0,
    duration: float = 0.0,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One case; `duration` in seconds."""
    name, _, variant = model.stem.partition(".")
    made: dict[str, Any] = plain({
        "id": uuid.uuid4().hex,
        "gate_id": gate_id,
        "scenario": {
            "model": {"org": model.parent.name, "name": name, "variant": variant},
            "format": format,
            "backend": backend,
            "prompt": prompt,
            "seed": 0,
        },
        "outcome": outcome,
        "reason": reason,
        "output": output,
        "stderr": "",
        "exit_code": exit_code,
        "metrics": {"duration_ms": round(1000 * duration), "memory_peak_mb": _peak() >> 20},
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "host": {
            "hostname": socket.gethostname(),
            "os": platform.platform(),
            "cpu": platform.processor() or platform.machine(),
            "gpu": None,
            "apr_version": None,
        },
        "metadata": dict(metadata or {}),
    })  # fmt: skip
    return made


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def plain(value: Any) -> Any:
    """The same as JSON can hold it: a number that is none as text, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, os.PathLike) else value


def write(path: Path, cases: list[dict[str, Any]]) -> None:
    """Write the list, whole or not at all."""
    made = path.with_name(f".{path.name}.partial")
    made.write_text(json.dumps(cases, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    made.replace(path)
