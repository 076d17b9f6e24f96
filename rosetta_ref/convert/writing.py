"""A plan written into a folder, and everything that was written read again.

Weights are compared tensor by tensor with what they ought to be (`check`), metadata key by key, all other files byte by byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive
from rosetta_ref.convert import kept
from rosetta_ref.convert.check import MismatchError, Sums, check
from rosetta_ref.convert.report import ProgressLike
from rosetta_ref.convert.target import Plan
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr, gguf, safetensors


class MetadataMismatchError(RosettaError):
    """The metadata that was written is read back as it was."""


def planned_names(plan: Plan) -> list[str]:
    """The files of a SafeTensors target, but for the index of shards that are yet to be cut: its name is always here."""
    shards = [shard.file_name for shard in plan.layout]
    index = [safetensors.INDEX_NAME] if len(shards) > 1 else []
    beside = [f"{kept.FOLDER}/{name}" for name in (kept.SOURCE, kept.BLOCKS)] if plan.keep else []
    return list(dict.fromkeys([*plan.files, *shards, *index, *beside]))


def write_and_check(
    model: Archive,
    plan: Plan,
    path: Path,
    *,
    kind: str,
    lenient: bool = False,
    sha256: bool = False,
    progress: ProgressLike | None = None,
) -> tuple[dict[str, Sums], int]:
    """Write the plan made of a model, as format `kind`, to a file or directory; its checksums by name, and its size in bytes.

    Beside a file, or in the directory, go the other files of the plan. Raises what writing raises, MismatchError,
    InventedValueError and MetadataMismatchError.
    """
    total = sum(tensor.nbytes for tensor in plan.archive.tensors.values())
    if progress is not None:
        progress.total(total, "writing")
    advance = None if progress is None else progress.advance
    if kind == "gguf":
        gguf.write(plan.archive, path, lenient=lenient, progress=advance)
    elif kind == "apr":
        apr.write(plan.archive, path, progress=advance)
    else:
        _write_weights(plan, path, advance)
    if progress is not None:
        progress.total(total, "checking")
    with _reopen(kind, path, lenient) as written:
        sums = check(written, plan.archive, plan.origins, sums=plan.keep, sha256=sha256, progress=progress)
        _check_metadata(written, plan)
        nbytes = sum(part.map.size for part in written.parts)
    if kind == "safetensors":
        _write_beside(model, plan, path if path.is_dir() else path.parent, sums)
    return sums, nbytes


def _write_weights(plan: Plan, path: Path, advance: Any) -> None:
    folder = path if path.is_dir() else path.parent
    if len(plan.layout) == 1:
        shard = plan.layout[0]
        tensors = {name: plan.archive.tensors[name] for name in shard.names}
        one = Archive("safetensors", dict(shard.metadata or {}), tensors)
        safetensors.write(one, folder / shard.file_name, progress=advance)
    else:
        safetensors.write_sharded(plan.archive, folder, plan.layout, progress=advance)


def _write_beside(model: Archive, plan: Plan, folder: Path, sums: Mapping[str, Sums]) -> None:
    """Configuration, tokenizer, what is kept; a remembered index is the very file that the directory had."""
    files = dict(plan.files)
    if plan.keep:
        (folder / kept.FOLDER).mkdir(exist_ok=True)
        files[f"{kept.FOLDER}/{kept.SOURCE}"] = _write_kept(model, plan, folder, sums)
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)  # additional_chat_templates/
        (folder / name).write_bytes(data)
    for name, data in files.items():
        if (folder / name).read_bytes() != data:
            raise MismatchError("is not read back as it was written", file=folder / name)


def _write_kept(model: Archive, plan: Plan, folder: Path, sums: Mapping[str, Sums]) -> bytes:
    """Write the original blocks; the record that belongs to them."""
    written = plan.archive.tensors
    names = [
        name
        for name, tensor in model.tensors.items()
        if kept.needs_keeping(tensor, written.get(plan.hf_names.get(name, "")), exact=plan.exact)
    ]
    if names:
        blocks = kept.blocks_archive(model, names)
        safetensors.write(blocks, folder / kept.FOLDER / kept.BLOCKS)
        with safetensors.read(folder / kept.FOLDER / kept.BLOCKS) as back:
            check(back, blocks, {})
    return kept.source_json(
        model,
        plan.hf_names,
        {name: one.crc32 for name, one in sums.items()},
        names,
        weights=[shard.file_name for shard in plan.layout],
        companions=plan.files,
    )


def _reopen(kind: str, path: Path, lenient: bool) -> Archive:
    if kind == "gguf":
        return gguf.read(path, lenient=lenient)
    return apr.read(path) if kind == "apr" else safetensors.read(path)


def _check_metadata(written: Archive, plan: Plan) -> None:
    if plan.layout:
        pairs = {part.map.path.name: dict(part.metadata) for part in written.parts}
        for shard in plan.layout:
            if pairs.get(shard.file_name) != dict(shard.metadata or {}):
                raise MetadataMismatchError("__metadata__ differs", file=written.path)
        return
    if list(written.metadata) != list(plan.archive.metadata):
        raise MetadataMismatchError("keys differ in name or order", file=written.path)
    for key, value in plan.archive.metadata.items():
        if written.metadata[key] != value:
            raise MetadataMismatchError(f"key {key!r} differs", file=written.path)
