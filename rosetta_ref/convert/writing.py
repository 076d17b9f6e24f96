"""A plan written into a folder, and everything that was written read again.

Weights are compared tensor by tensor with what they ought to be (`check`), metadata key by key, all other files byte by byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive
from rosetta_ref.convert import kept
from rosetta_ref.convert.check import MismatchError, Sums, check, crcs_of
from rosetta_ref.convert.publish.disk import naming
from rosetta_ref.convert.publish.names import require_names
from rosetta_ref.convert.report import ProgressLike
from rosetta_ref.convert.target import Plan
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.output import create
from rosetta_ref.formats.registry import of


class MetadataMismatchError(RosettaError):
    """The metadata that was written is read back as it was."""


@dataclass
class Written:
    """What was written: the weights at `path`, in format `kind`; all files beside them, or in the same directory.

    `crcs` are the CRC-32 of tensors that `rosetta/source.json` records; `blocks` names those of `rosetta/blocks.safetensors`.
    """

    path: Path
    kind: str
    files: dict[str, bytes] = field(default_factory=dict)
    crcs: dict[str, int] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Everything that was written, by its name in the folder: this and nothing else is to be there."""
        index = _index_names(self.shards)
        blocks = [f"{kept.FOLDER}/{kept.BLOCKS}"] if self.blocks else []
        return {*self.files, *blocks, *(self.shards or [self.path.name]), *index}

    @property
    def folder(self) -> Path:
        """The folder that holds everything."""
        return self.path if self.path.is_dir() else self.path.parent


def planned_names(plan: Plan) -> list[str]:
    """The files of a SafeTensors target, but for the index of shards that are yet to be cut: its name is always here."""
    shards = [shard.file_name for shard in plan.layout]
    beside = [f"{kept.FOLDER}/{name}" for name in (kept.SOURCE, kept.BLOCKS)] if plan.keep else []
    return list(dict.fromkeys([*plan.files, *shards, *_index_names(shards), *beside]))


def _index_names(shards: Sequence[str]) -> list[str]:
    """The index that goes with these files: none for one file."""
    return [safetensors.index_name(shards)] if len(shards) > 1 else []


def write(
    model: Archive, plan: Plan, path: Path, kind: str, lenient: bool = False, progress: ProgressLike | None = None
) -> Written:
    """Write the plan made of a model, as format `kind`, to a file or into a directory, each file once.

    Beside a file, or in the directory, go the other files of the plan. Raises what writing raises, and PublishedNameError.
    """
    total = sum(tensor.nbytes for tensor in plan.archive.tensors.values())
    if progress is not None:
        progress.total(total, "writing")
    advance = None if progress is None else progress.advance
    written = Written(path, kind)
    if not of(kind).has_companions:
        of(kind).write(plan.archive, path, lenient=lenient, progress=advance)
    else:
        written.shards = [shard.file_name for shard in plan.layout]
        require_names(plan.files, written.shards, directory=path.is_dir())
        _write_weights(plan, written.folder, advance)
        _write_beside(model, plan, written)
    return written


def check_written(
    model: Archive,
    plan: Plan,
    written: Written,
    *,
    lenient: bool = False,
    sha256: bool = False,
    progress: ProgressLike | None = None,
) -> tuple[dict[str, Sums], int]:
    """Read everything again, where it will be published from; the checksums of the weights by name, and their size in bytes.

    Nothing is written after this. Raises MismatchError, InventedValueError and MetadataMismatchError.
    """
    if progress is not None:
        progress.total(sum(tensor.nbytes for tensor in plan.archive.tensors.values()), "checking")
    for name, data in written.files.items():
        if (written.folder / name).read_bytes() != data:
            raise MismatchError("is not read back as it was written", file=written.folder / name)
    if written.blocks:
        with safetensors.read(written.folder / kept.FOLDER / kept.BLOCKS) as back:
            check(back, kept.blocks_archive(model, written.blocks), {})
    with reopen(written.kind, written.path, lenient) as again:
        sums = check(again, plan.archive, plan.origins, sums=plan.keep, sha256=sha256, progress=progress)
        check_metadata(again, plan)
        for name, crc in written.crcs.items():
            if sums[name].crc32 != crc:
                raise MismatchError("changed since it was written", file=written.path, tensor=name)
        return sums, sum(part.map.size for part in again.parts)


def _write_weights(plan: Plan, folder: Path, advance: Any) -> None:
    if len(plan.layout) == 1:
        shard = plan.layout[0]
        tensors = {name: plan.archive.tensors[name] for name in shard.names}
        one = Archive("safetensors", dict(shard.metadata or {}), tensors)
        safetensors.write(one, folder / shard.file_name, progress=advance)
        return
    safetensors.write_sharded(plan.archive, folder, plan.layout, progress=advance)
    for name in _index_names([shard.file_name for shard in plan.layout]):
        if name in plan.files:  # a remembered index is the very file that the directory had
            with naming(folder / name):
                (folder / name).unlink(missing_ok=True)


def _write_beside(model: Archive, plan: Plan, written: Written) -> None:
    """Configuration, tokenizer, what is kept. None of them is there yet, so that nothing takes the place of the weights."""
    written.files = dict(plan.files)
    folders = {name.partition("/")[0] for name in plan.files if "/" in name} | ({kept.FOLDER} if plan.keep else set())
    for name in sorted(folders):
        with naming(written.folder / name):
            (written.folder / name).mkdir()
    for name, data in plan.files.items():
        create(written.folder / name, data)
    if plan.keep:
        name = f"{kept.FOLDER}/{kept.SOURCE}"
        written.files[name] = _write_kept(model, plan, written)
        create(written.folder / name, written.files[name])


def _write_kept(model: Archive, plan: Plan, written: Written) -> bytes:
    """Write the original blocks; the record that belongs to them."""
    made = plan.archive.tensors
    written.blocks = [
        name
        for name, tensor in model.tensors.items()
        if name in plan.rounded or kept.needs_keeping(tensor, made.get(plan.hf_names.get(name, "")), exact=plan.exact)
    ]
    if written.blocks:
        safetensors.write(kept.blocks_archive(model, written.blocks), written.folder / kept.FOLDER / kept.BLOCKS)
    with reopen(written.kind, written.path, False) as weights:
        written.crcs = crcs_of(weights)
    return kept.source_json(
        model,
        plan.hf_names,
        written.crcs,
        written.blocks,
        weights=written.shards,
        companions=plan.files,
    )


def reopen(kind: str, path: Path, lenient: bool) -> Archive:
    """The weights that were written, read again."""
    container = of(kind)
    return container.read(path, lenient=lenient and "lenient" in container.writes)  # as it was written


def check_metadata(written: Archive, plan: Plan) -> None:
    """Raise MetadataMismatchError where the metadata is not read back as it was planned."""
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
