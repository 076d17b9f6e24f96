"""The reference as a function of two paths. Tensors that are no model keep their names, as with its --keep-names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.formats.registry import of


def convert(src: str | Path, dst: str | Path, **options: Any) -> None:
    """Convert; a file that is no model of a known architecture with its names kept. Raises what the reference raises."""
    # By a string: the gate shares no code with what it judges, and import-linter sees to it.
    reference = import_module("rosetta_ref.convert")
    reference.convert(src, dst, durable=False, keep_names=not _is_model(Path(src)), **options)


def _is_model(path: Path) -> bool:
    """What says so in each format: an architecture, or a config.json."""
    if of(sniff(path)).has_companions:
        return ((path if path.is_dir() else path.parent) / "config.json").exists()
    with open_archive(path) as archive:
        return "general.architecture" in archive.metadata or archive.metadata.get("model_type") not in (None, "other")
