"""The six pairs, by way of the canonical (GGUF-shaped) model; atomic, checked, with checksums.

Read `policy` (what happens to each type), `source` (any file to the canonical model), `target` (the model to what is
written), `check` (what is verified before anything gets its name), `staging` (all or nothing). `kept` and `extras` hold what
one format has no place for while a model lives in another.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref.archive import Archive
from rosetta_ref.convert import kept, staging
from rosetta_ref.convert.check import Sums, check
from rosetta_ref.convert.extras import PREFIX
from rosetta_ref.convert.policy import Action
from rosetta_ref.convert.report import ProgressLike, Report
from rosetta_ref.convert.source import Source, read_source
from rosetta_ref.convert.target import OptionError, Plan, plan_apr, plan_gguf, plan_safetensors, type_of
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.formats.detect import format_of_target, sniff

__all__ = ["Options", "Report", "convert"]


class SameFormatError(RosettaError):
    """A conversion goes from one format to another one."""


class MetadataMismatchError(RosettaError):
    """The metadata that was written is read back as it was."""


@dataclass(frozen=True)
class Options:
    """What a conversion may be told.

    dtype: what decoded tensors become in SafeTensors: exact (the first of BF16, F16, F32 that holds every value), f32, f16, bf16.
    type: re-encode float tensors to this block type, into GGUF or APR.
    keep_blocks: keep original blocks and metadata in `rosetta/` beside Hugging Face weights.
    extra_keys: carry what the target has no place for under `rosetta.*` keys.
    apr_native: decode the types that APR has no code for.
    keep_names: carry tensors as stored, whatever their names.
    lenient: take what C accepts, and write what ggml refuses.
    max_shard_size: bytes of a SafeTensors shard at most.
    checksums: where to write the manifest of SHA-256 sums.
    force: replace an existing target.
    """

    dtype: str = "exact"
    type: str | None = None
    keep_blocks: bool = True
    extra_keys: bool = True
    apr_native: bool = False
    keep_names: bool = False
    lenient: bool = False
    max_shard_size: int = 5_000_000_000
    checksums: str | Path | None = None
    force: bool = False


def convert(src: str | Path, dst: str | Path, *, progress: ProgressLike | None = None, **options: Any) -> Report:
    """Convert a model file or directory; the target's suffix says the format, a directory is a Hugging Face directory.

    The options are the fields of `Options`. Raises a RosettaError that names file, tensor and rule; then nothing is left
    behind. The source is never touched.
    """
    began = time.perf_counter()
    chosen = Options(**options)
    source_path, target = Path(src), Path(dst)
    report = Report(source_path, target, sniff(source_path), format_of_target(target))
    _refuse_early(report, chosen)
    with read_source(
        source_path,
        report.source_format,
        lenient=chosen.lenient,
        keep_names=chosen.keep_names,
        extra_keys=chosen.extra_keys,
    ) as source:
        plan = _plan(source, report, chosen)
        with staging.staged(target) as folder, _named_by_target(folder, target):
            sums = _write_and_check(source, plan, folder, report, chosen, progress)
            _publish(plan, folder, target, chosen.force)
        _fill(report, source, plan, sums, chosen.checksums)
    report.seconds = time.perf_counter() - began
    return report


@contextlib.contextmanager
def _named_by_target(folder: Path, target: Path) -> Iterator[None]:
    """Errors about a file in the staging folder speak of the target: the folder is gone when they are read."""
    try:
        yield
    except RosettaError as error:
        if error.file is not None and Path(error.file).is_relative_to(folder):
            inside = Path(error.file).relative_to(folder)
            error.file = target.parent / inside if inside.name == target.name else target / inside
        raise


def _refuse_early(report: Report, options: Options) -> None:
    """What can be known before anything is read."""
    source, target = report.source, report.target
    if report.source_format == report.target_format and options.type is None:
        raise SameFormatError(f"both are {report.source_format}", file=source)
    if options.type is not None and report.target_format == "safetensors":
        raise OptionError("--type goes with GGUF and APR targets; use --dtype", file=target)
    if target.exists() and target.resolve() == source.resolve():
        raise staging.SourceIsTargetError("the target is the source", file=target)
    staging.refuse_existing(target, (), force=options.force)


def _plan(source: Source, report: Report, options: Options) -> Plan:
    model, target = source.model, report.target
    wanted = None if options.type is None else type_of(options.type)
    if report.target_format == "gguf":
        return plan_gguf(model, wanted=wanted)
    if report.target_format == "apr":
        return plan_apr(
            model,
            wanted=wanted,
            native=options.apr_native,
            keep_names=options.keep_names,
            extra_keys=options.extra_keys,
        )
    return plan_safetensors(
        model,
        dtype=options.dtype,
        keep_blocks=options.keep_blocks,
        keep_names=options.keep_names,
        max_shard_size=options.max_shard_size,
        file_name=target.name if target.suffix == ".safetensors" else None,
    )


def _write_and_check(
    source: Source, plan: Plan, folder: Path, report: Report, options: Options, progress: ProgressLike | None
) -> dict[str, Sums]:
    total = sum(tensor.nbytes for tensor in plan.archive.tensors.values())
    kind, target = report.target_format, report.target
    advance = None
    if progress is not None:
        progress.total(total, "writing")
        advance = progress.advance
    if kind == "gguf":
        gguf.write(plan.archive, folder / target.name, lenient=options.lenient, progress=advance)
    elif kind == "apr":
        apr.write(plan.archive, folder / target.name, progress=advance)
    else:
        _write_directory(plan, folder, advance)
    if progress is not None:
        progress.total(total, "checking")
    want_sums = options.checksums is not None
    with _reopen(kind, folder, target, options.lenient) as written:
        sums = check(written, plan.archive, plan.origins, sums=plan.keep, sha256=want_sums, progress=progress)
        if kind != "safetensors":
            _check_metadata(written, plan.archive)
        report.nbytes = sum(part.map.size for part in written.parts)
    report.compared = len(plan.archive.tensors)
    if plan.keep:
        _write_kept(source.model, plan, folder, sums)
    return sums


def _write_directory(plan: Plan, folder: Path, advance: Any) -> None:
    for name, data in plan.files.items():
        (folder / name).write_bytes(data)
    if len(plan.layout) == 1:
        shard = plan.layout[0]
        tensors = {name: plan.archive.tensors[name] for name in shard.names}
        safetensors.write(
            Archive("safetensors", dict(shard.metadata or {}), tensors), folder / shard.file_name, progress=advance
        )
    else:
        index = safetensors.INDEX_NAME in plan.files
        safetensors.write_sharded(plan.archive, folder, plan.layout, progress=advance)
        if index:  # the very file that the directory had
            (folder / safetensors.INDEX_NAME).write_bytes(plan.files[safetensors.INDEX_NAME])


def _write_kept(model: Archive, plan: Plan, folder: Path, sums: Mapping[str, Sums]) -> None:
    (folder / kept.FOLDER).mkdir(exist_ok=True)
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
    text = kept.source_json(
        model,
        plan.hf_names,
        {name: one.crc32 for name, one in sums.items()},
        names,
        weights=[shard.file_name for shard in plan.layout],
        companions=plan.files,
    )
    (folder / kept.FOLDER / kept.SOURCE).write_bytes(text)


def _reopen(kind: str, folder: Path, target: Path, lenient: bool) -> Archive:
    if kind == "gguf":
        return gguf.read(folder / target.name, lenient=lenient)
    if kind == "apr":
        return apr.read(folder / target.name)
    return safetensors.read(folder / target.name if target.suffix == ".safetensors" else folder)


def _check_metadata(written: Archive, expected: Archive) -> None:
    if list(written.metadata) != list(expected.metadata):
        raise MetadataMismatchError("keys differ in name or order", file=written.path)
    for key, value in expected.metadata.items():
        if written.metadata[key] != value:
            raise MetadataMismatchError(f"key {key!r} differs", file=written.path)


def _publish(plan: Plan, folder: Path, target: Path, force: bool) -> None:
    if plan.layout and target.suffix != ".safetensors":
        staging.publish_folder(folder, target, force=force)
        return
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    staging.publish_file(folder, target, [name for name in names if name != target.name], force=force)


def _fill(report: Report, source: Source, plan: Plan, sums: Mapping[str, Sums], checksums: str | Path | None) -> None:
    report.actions = plan.actions
    if source.restored:
        report.actions[Action.RESTORED] = len(source.restored)
        report.actions[Action.CARRIED] -= len(source.restored)
    report.tensors = len(plan.archive.tensors)
    own = [key for key in source.model.metadata if not key.startswith(PREFIX)]
    report.metadata_keys = len(own)
    report.metadata_restored = sum(
        key in plan.archive.metadata and plan.archive.metadata[key] == source.model.metadata[key] for key in own
    )
    report.changed = source.changed
    report.notes = source.notes + plan.notes
    if checksums is not None:
        report.checksums = {name: {"source": s.source, "target": s.written} for name, s in sums.items()}
        Path(checksums).write_text(json.dumps(report.checksums, indent=1, sort_keys=True) + "\n")
