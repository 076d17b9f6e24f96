"""From any file to the canonical model: GGUF's names, row order and typed metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rosetta_ref.architectures import huggingface
from rosetta_ref.architectures.tokenizer import library
from rosetta_ref.archive import Archive, Buffer, Tensor, Value
from rosetta_ref.beside import read_beside
from rosetta_ref.convert import companions, extras, kept, losses
from rosetta_ref.convert.record import few
from rosetta_ref.convert.restore import restored
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.detect import whole
from rosetta_ref.formats.registry import of


@dataclass
class Source:
    """A source file: its archive as stored, the canonical model, and what is known of how the two belong together."""

    archive: Archive
    model: Archive
    restored: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        """Every file that belongs to it: none of them is ever written to."""
        weights = [part.map.path for part in self.archive.parts]
        if not of(self.archive.format).has_companions:
            return weights
        folders = sorted({path.parent for path in weights})
        record = [f"{kept.FOLDER}/{name}" for name in (kept.SOURCE, kept.BLOCKS)]
        return weights + [
            folder / name
            for folder in folders
            for name in [*companions.NAMES, *companions.present(folder), *companions.indexes(folder), *record]
        ]

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()


def read_source(
    path: Path, kind: str, *, lenient: bool = False, keep_names: bool = False, extra_keys: bool = True
) -> Source:
    """Read a file of format "gguf", "apr" or "safetensors" as a canonical model."""
    source: Source = of(kind).part("rosetta_ref.convert.containers").read(path, lenient=lenient, keep_names=keep_names)
    source.notes += source.archive.notes
    if not extra_keys:
        source.notes += losses.of_stripped(source.model.metadata)
        metadata = extras.strip(source.model.metadata)
        source.model = Archive("gguf", metadata, source.model.tensors, source.model.path, source.model.parts)
    return source


def companion_files(path: Path) -> dict[str, bytes]:
    """Configuration and tokenizer files of a directory, or beside a file, by name; with the indexes of a directory.

    Raises what `companions.collect` raises.
    """
    folder = path if path.is_dir() else path.parent
    return companions.collect(folder, with_indexes=path.is_dir() or path.name.endswith(".index.json"))


def read_directory(path: Path, *, keep_names: bool) -> Source:
    """A Hugging Face directory, or a file with what stands beside it. Raises what is wrong with either."""
    path = whole(path)  # a shard is not the model: its index is
    folder = path if path.is_dir() else path.parent
    archive = safetensors.read(path)
    try:
        return _with_companions(archive, path, folder, keep_names=keep_names)
    except BaseException as error:
        archive.close()
        if isinstance(error, RosettaError):
            error.at(file=path)
        raise


def _with_companions(archive: Archive, path: Path, folder: Path, *, keep_names: bool) -> Source:
    notes: list[str] = []
    index = archive.path.name if archive.path is not None and archive.path.name.endswith(".index.json") else None
    files = companions.collect(folder, with_indexes=False)
    if path.is_dir() or index is not None:
        _note_others(archive, folder, index, notes)
    known = kept.read_kept(archive, folder, files, notes)
    if known is not None:
        return _with_kept(archive, known, files, notes)
    if keep_names:
        model = Archive("gguf", {}, dict(archive.tensors), path, archive.parts)
        names = {name: name for name in model.tensors}
    else:
        model = huggingface.from_huggingface(
            archive, files, name=path.resolve().stem if path.is_file() else path.resolve().name
        )
        notes += model.notes
        names = huggingface.hf_names(model)
        _note_unread_tokenizer(files, notes)
        library.require_taken(files)
    if index is not None:
        files[index] = read_beside(folder, index)
    aside = [] if keep_names else huggingface.left_aside(archive, model)
    if aside:
        notes.append(f"left behind, being no part of the text model: {few(aside)}")
    if aside or any(name not in archive.tensors for name in names.values()):
        notes.append(
            "a directory of other parts or other names is not remembered: the way back makes one of the text model"
        )
    else:
        extras.remember(model, archive, files, names, notes)
    return Source(archive, model, notes=notes)


def _note_unread_tokenizer(files: Mapping[str, bytes], notes: list[str]) -> None:
    """Say that a tokenizer is there, and that it is of a kind that is not read."""
    unread = [name for name in companions.VOCABULARIES if name in files]
    if unread and "tokenizer.json" not in files and "tokenizer.model" not in files:
        notes.append(f"{few(unread)} is carried and not read: without a tokenizer.json, the model has no vocabulary")


def _note_others(archive: Archive, folder: Path, index: str | None, notes: list[str]) -> None:
    """Say what else is in the directory of a model, and stays there."""
    weights = {part.map.path.relative_to(folder).parts[0] for part in archive.parts}
    others = companions.others(folder, {*weights, kept.FOLDER, index or ""})
    if others:
        notes.append(f"left behind, being no part of the model: {few(others)}")


def _with_kept(archive: Archive, known: kept.Kept, files: dict[str, bytes], notes: list[str]) -> Source:
    """The model that `rosetta/` describes, with the tensors that changed taken from the weights."""
    metadata = dict(metadata_of(known, archive, files, notes))
    tensors, changed = restored(archive, known, metadata)
    notes += [f"{name} was changed: taken from the weights" for name in changed]
    notes += losses.of_headers(archive)
    if known.companions_changed:
        library.require_taken({name: files[name] for name in known.companions_changed if name in files})
        notes += extras.remember_changed(known.metadata, metadata, files, known.companions_changed)
    model = Archive("gguf", metadata, tensors, archive.path, archive.parts)
    return Source(archive, model, set(tensors) - set(changed), changed, notes)


def metadata_of(known: kept.Kept, archive: Archive, files: Mapping[str, bytes], notes: list[str]) -> dict[str, Value]:
    """The metadata that was kept, with what configuration and tokenizer files say otherwise since.

    What they would have said of the kept metadata is made again, or is what that remembers, so that only what somebody changed is
    taken from them; what they have no word for stays as it was.
    """
    changed = [name for name in known.companions_changed if name != "generation_config.json"]
    if not changed:
        return known.metadata
    shells = {
        name: known.blocks.get(name) or Tensor(name, record.type, record.shape, Buffer(np.empty(0, np.uint8)))
        for name, record in known.records.items()
    }
    model = Archive("gguf", known.metadata, shells, archive.path)
    remembered = extras.recall(model, [])
    as_written = huggingface.to_huggingface(model)[1] if remembered is None else remembered.files
    before = huggingface.from_huggingface(archive, as_written).metadata
    after = huggingface.from_huggingface(archive, as_written | dict(files)).metadata
    taken = {key: value for key, value in after.items() if before.get(key) != value}
    gone = before.keys() - after.keys()
    what = ", ".join([*taken, *(f"no {key}" for key in sorted(gone))]) or "nothing that matters"
    notes.append(f"{', '.join(changed)} changed since; taken from the files: {what}")
    return {key: value for key, value in known.metadata.items() if key not in gone} | taken
