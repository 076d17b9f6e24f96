"""Evidence in the form that the gates of the field read: a JSON list with an object per case.

The field names are an interface (`id`, `gate_id`, `scenario`, `outcome`, `metrics`, ...): those of aprender's QA playbook. What
this project adds stands under `metadata`. There is no NaN and no Infinity in it: JSON has none.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import os
import platform
import socket
import sys
import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

CORROBORATED, FALSIFIED = "Corroborated", "Falsified"


def entry(
    gate_id: str,
    outcome: str,
    reason: str,
    *,
    model: Path | Mapping[str, Any],
    format: str,  # noqa: A002 (the field's name)
    backend: str,
    prompt: str = "",
    output: str = "",
    stderr: str = "",
    exit_code: int | None = 0,
    duration: float = 0.0,
    memory: int | None = None,
    seed: int = 0,
    id: str | None = None,  # noqa: A002 (the field's name)
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One case; `duration` in seconds, `memory` in bytes (None: what this process has had at most).

    `model` is a file, or {org, name, variant} of what is no file. Without an `id`, the case is one of its own.
    """
    made: dict[str, Any] = plain({
        "id": id or uuid.uuid4().hex,
        "gate_id": gate_id,
        "scenario": {
            "model": _model(model) if isinstance(model, Path) else model,
            "format": format,
            "backend": backend,
            "prompt": prompt,
            "seed": seed,
        },
        "outcome": outcome,
        "reason": reason,
        "output": output,
        "stderr": stderr,
        "exit_code": exit_code,
        "metrics": {"duration_ms": round(1000 * duration), "memory_peak_mb": _megabytes(memory)},
        "timestamp": now(),
        "host": {**host(), "apr_version": None},
        "metadata": dict(metadata or {}),
    })  # fmt: skip
    return made


def stable_id(*parts: str) -> str:
    """32 hex digits that say which case it is, the same in every run.

    >>> stable_id("reference", "F-CONV-001/q4_k/two-rows")
    'dc414c4e2c2a271fae125aa323f047b3'
    """
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def host() -> dict[str, Any]:
    """Where this runs."""
    return {
        "hostname": socket.gethostname(),
        "os": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "gpu": None,
    }


def now() -> str:
    """The time as RFC 3339, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _model(path: Path) -> dict[str, str]:
    name, _, variant = path.stem.partition(".")
    return {"org": path.parent.name, "name": name, "variant": variant}


def _megabytes(memory: int | None) -> int | None:
    peak = _peak() if memory is None else memory
    return None if peak is None else peak >> 20


def _peak() -> int | None:
    """The most memory that this process has had, in bytes, where the system says so."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def plain(value: Any) -> Any:
    """The same as JSON can hold it: a number that is none as text, paths as text, NumPy's numbers as Python's.

    >>> plain({"a": (1.5, float("nan")), "b": Path("c")})
    {'a': [1.5, 'nan'], 'b': 'c'}
    """
    if isinstance(value, Mapping):
        return {_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, (str, os.PathLike)):
        return _text(str(value))
    return value


def _text(text: str) -> str:
    """Text without lone surrogates, which are not UTF-8 and which many readers of JSON refuse."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write(path: Path, cases: list[dict[str, Any]]) -> None:
    """Write the list, whole or not at all."""
    write_json(path, cases)


def write_json(path: Path, value: Any) -> None:
    """Write a value of JSON, whole or not at all: what cannot be written leaves what was there.

    Raises OSError, which names the file.
    """
    # Spelled otherwise where it would be a command to a CI service, whoever prints the file; the value is the same.
    write_text(path, json.dumps(value, indent=2, allow_nan=False).replace("##[", r"#\u0023[") + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all. Raises OSError, which names the file."""
    made = None
    try:
        # Made anew under a name that nobody foresees: a link that was put there is not followed.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:50]}-", suffix=".partial", dir=path.parent)
        os.close(descriptor)
        made = Path(name)
        made.write_text(text, encoding="utf-8", newline="")
        made.chmod(0o666 & ~_umask())
        made.replace(path)
    except BaseException as error:
        if made is not None:
            made.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def _umask() -> int:
    """The bits of a mode that this process leaves out."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
