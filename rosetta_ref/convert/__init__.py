"""The six pairs, by way of the canonical (GGUF-shaped) model; atomic, checked, with checksums.

Read `policy` (what happens to each type), `containers` (what each format needs), `source` (any file to the canonical model),
`target` (the model to what is written), `writing` and `check` (what is verified before anything gets its name), `staging` and
`publish` (all or nothing). `encoding` and `imatrix` are what `--type` asks for. `kept`, `restore` and `extras` hold what one
format has no place for while a model lives in another.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rosetta_ref.architectures.complete import require_complete
from rosetta_ref.architectures.names import architecture_of_metadata
from rosetta_ref.archive import Archive
from rosetta_ref.convert import containers, staging
from rosetta_ref.convert.check import Sums
from rosetta_ref.convert.encoding import Encoding, OptionError, encoding_of
from rosetta_ref.convert.extras import PREFIX
from rosetta_ref.convert.manifest import Manifest
from rosetta_ref.convert.options import Options
from rosetta_ref.convert.policy import Action
from rosetta_ref.convert.publish import disk
from rosetta_ref.convert.publish.rules import refuse_mixed
from rosetta_ref.convert.report import ProgressLike, Report
from rosetta_ref.convert.source import Source, read_source
from rosetta_ref.convert.target import Plan
from rosetta_ref.convert.writing import check_written, planned_names, write
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import naming
from rosetta_ref.formats.detect import format_of_target, sniff
from rosetta_ref.formats.registry import of
from rosetta_ref.formats.unfinished import require_published

__all__ = ["Options", "Report", "convert"]


class SameFormatError(RosettaError):
    """A conversion goes from one format to another one."""


#: Looks at the source and at what was written, before it gets its name: raises what is wrong, gives a line for the report.
Verifier = Callable[[Path, Path], str]


@naming
def convert(
    src: str | Path,
    dst: str | Path,
    *,
    progress: ProgressLike | None = None,
    verify: Verifier | None = None,
    **options: Any,
) -> Report:
    """Convert a model file or directory; the target's suffix says the format, a directory is a Hugging Face directory.

    The options are the fields of `Options`; `verify` (see `rosetta_ref.verify.verifier`) has the last word. Raises a RosettaError
    that names file, tensor and rule; then nothing is left behind. The source is never touched.
    """
    began = time.perf_counter()
    chosen = Options(**options)
    source_path, target = Path(src), Path(dst)
    report = Report(source_path, target, sniff(source_path), format_of_target(target))
    place = staging.place_of(target, directory=_is_directory(report))
    given = [source_path, *([Path(chosen.imatrix)] if chosen.imatrix is not None else [])]
    staging.refuse_sources_within(place, given)
    staging.recover(place)
    if place.directory:
        require_published(place.target)  # a file in it may not be
    _refuse_early(report, chosen)
    staging.refuse_kinds(place.target, (), directory=place.directory)
    wanted = encoding_of(chosen.type, pure=chosen.pure, imatrix=chosen.imatrix)
    with read_source(
        source_path,
        report.source_format,
        lenient=chosen.lenient,
        keep_names=chosen.keep_names,
        extra_keys=chosen.extra_keys,
    ) as source:
        plan = _plan(source, report, chosen, wanted)
        manifest = _claim(report, source, plan, place, chosen)
        with manifest, disk.waiting(chosen.durable), staging.staged(place), _named_by_target(place):
            written = write(source.model, plan, place.weights, report.target_format, chosen.lenient, progress)
            place.complete(written.names, manifest.name)
            sums, report.nbytes = check_written(
                source.model,
                plan,
                written,
                lenient=chosen.lenient,
                sha256=chosen.checksums is not None,
                progress=progress,
            )
            _fill(report, source, plan, sums)
            if verify is not None:
                report.notes.append(verify(source_path, place.weights))
            manifest.write(report.checksums, place)
            manifest.withdraw()
            place.publish(force=chosen.force, manifest=manifest.name)
            manifest.publish()
    report.seconds = time.perf_counter() - began
    return report


@contextlib.contextmanager
def _named_by_target(place: staging.Place) -> Iterator[None]:
    """Errors about a file in the staging folder speak of the target: the folder is gone when they are read."""
    try:
        yield
    except RosettaError as error:
        path = None if error.file is None else Path(error.file)
        if path is not None and path.is_relative_to(place.new):
            error.file = place.target.parent / path.relative_to(place.new)
        elif path is not None and path.is_relative_to(place.folder):
            error.file = place.target
        raise


def _refuse_early(report: Report, options: Options) -> None:
    """What can be known before anything is read."""
    source, target = report.source, report.target
    if report.source_format == report.target_format and options.type is None:
        raise SameFormatError(f"both are {report.source_format}", file=source)
    of_floats = of(report.target_format).has_companions
    for is_wrong, problem in (
        (options.type is not None and of_floats, "--type goes with GGUF and APR targets; use --dtype"),
        (options.dtype != "exact" and not of_floats, "--dtype goes with SafeTensors targets; use --type"),
        (options.apr_native and report.target_format != "apr", "--apr-native goes with APR targets"),
    ):
        if is_wrong:
            raise OptionError(problem, file=target)
    if options.max_shard_size < 1:
        raise OptionError(f"--max-shard-size is {options.max_shard_size}", file=target)
    if target.exists() and os.path.realpath(target) == os.path.realpath(source):
        raise staging.SourceIsTargetError("the target is the source", file=target)
    if target.is_dir() is not _is_directory(report) and target.exists():
        what = "a directory, and the target is a file" if target.is_dir() else "a file, and the target is a directory"
        raise staging.TargetExistsError(f"is {what}", file=target)
    staging.refuse_existing(target, (), force=options.force)


def _is_directory(report: Report) -> bool:
    return of(report.target_format).is_directory(report.target)


def _claim(report: Report, source: Source, plan: Plan, place: staging.Place, options: Options) -> Manifest:
    """Refuse to write over the source, or over anything else without --force, before any work is done."""
    target, directory, names = place.target, place.directory, planned_names(plan)
    read = [*source.paths, *([Path(options.imatrix)] if options.imatrix is not None else [])]
    staging.refuse_clashes(target, names, read, directory=directory)
    beside = [] if directory else [name for name in names if name != target.name]
    staging.refuse_existing(target, beside, force=options.force)
    staging.refuse_kinds(target, names if directory else beside, directory=directory)
    refuse_mixed(target, names, directory=directory)
    folder = target if directory else target.parent
    taken = [*read, target, *(folder / name for name in names)]
    return Manifest(options.checksums, place, taken=taken, force=options.force)


def _plan(source: Source, report: Report, options: Options, wanted: Encoding | None) -> Plan:
    model, target = source.model, report.target
    if not options.keep_names and report.source_format != report.target_format:
        _require_whole(model)
    return containers.of(report.target_format).plan(
        model, options, wanted, None if _is_directory(report) else target.name
    )


def _require_whole(model: Archive) -> None:
    """Raise what is missing of the model, or of another shape: it would be missing in the target, too."""
    try:
        require_complete(model.tensors, model.metadata, architecture_of_metadata(model.metadata))
    except RosettaError as error:
        raise error.at(file=model.path) from None


def _fill(report: Report, source: Source, plan: Plan, sums: Mapping[str, Sums]) -> None:
    done = {
        name: Action.RESTORED if action is Action.CARRIED and name in source.restored else action
        for name, action in plan.actions.items()
    }
    report.actions = Counter(done.values())
    report.tensors = report.compared = len(plan.archive.tensors)
    report.metadata_keys = sum(not key.startswith(PREFIX) for key in source.model.metadata)
    report.changed = source.changed
    report.notes = source.notes + plan.notes
    if not report.tensors:
        report.notes.append("there are no tensors: only metadata was carried")
    report.checksums = {name: {"source": s.source, "target": s.written} for name, s in sums.items() if s.written}
