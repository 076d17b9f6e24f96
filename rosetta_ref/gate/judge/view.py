"""A file as the judge sees it: its tensors by their canonical names, as stored, and the numbers and words of the model.

Leniency ends here: shapes are those that stand in the file, a tensor whose size does not fit its type is listed as such, and what
cannot be read at all is an UnreadableError with the reader's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr
from rosetta_ref.formats.apr.metadata import lookup
from rosetta_ref.formats.apr.tables import TYPES_BY_CODE
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.formats.errors import DuplicateNameError
from rosetta_ref.formats.gguf.errors import TensorOverlapError
from rosetta_ref.formats.registry import Container, of
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.broken_table import Broken, as_it_stands
from rosetta_ref.gate.judge.mapping import NUMBERS, Number

#: Names of an architecture in APR's metadata and in config.json.
_ARCHITECTURES = {family.hugging_face.lower(): name for name, family in mapping.FAMILIES.items()}
_ARCHITECTURES |= {family.model_type: name for name, family in mapping.FAMILIES.items()}


class UnreadableError(RosettaError):
    """What a converter writes can be read."""


@dataclass(frozen=True)
class Seen:
    """A tensor of a file; `order` is how its rows stand where formats differ in that: mapping.PAIRS or mapping.HALVES."""

    tensor: Tensor
    order: int


@dataclass(frozen=True)
class IllFitting:
    """A tensor whose bytes are not those of its type and shape: what the file says of it; "code 77" for one that is no type's."""

    problem: str
    type: str
    shape: tuple[int, ...]


@dataclass
class View:
    """One file. `tensors` goes by canonical name, `ill_fitting` by stored name; `twice` are names that stand there once more."""

    path: Path
    format: str
    archive: Archive
    architecture: str | None = None
    tensors: dict[str, Seen] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    ill_fitting: dict[str, IllFitting] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    numbers: dict[Number, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None

    def heads(self, name: str) -> int | None:
        """The heads over which that tensor's rows may stand in two orders; None where they cannot."""
        family = mapping.FAMILIES.get(self.architecture or "")
        part = name.split(".")[2] if name.startswith("blk.") and name.count(".") > 2 else ""
        if family is None or not family.pairs or part not in ("attn_q", "attn_k"):
            return None
        heads = self._whole("attention.head_count")
        groups = self._whole("attention.head_count_kv")
        return heads if part == "attn_q" else groups or heads

    def stored_type(self, tensor: Tensor) -> str:
        """The type that the file gives a tensor, whatever its bytes are."""
        ill = self.ill_fitting.get(tensor.name)
        return tensor.type.name if ill is None else ill.type

    def _whole(self, key: str) -> int | None:
        found = next((value for row, value in self.numbers.items() if row.gguf == key), None)
        return found if type(found) is int and found > 0 else None

    def close(self) -> None:
        """Give up the file."""
        self.archive.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def look(path: Path) -> View:
    """The view of a file or directory. Raises UnreadableError."""
    broken: list[Broken] = []
    if not (path.is_file() or path.is_dir()):
        raise UnreadableError("it is no regular file, and no folder", file=path)
    try:
        kind = sniff(path)
        archive = _opened(path, of(kind), broken)
    except (RosettaError, OSError) as error:
        twice = " (a name stands twice)" if isinstance(error, DuplicateNameError) else ""
        raise UnreadableError(f"it cannot be read{twice}: {error}", file=path) from error
    view = View(path, kind, archive, broken=broken)
    try:
        _complete(view)
    except BaseException:
        archive.close()
        raise
    return view


def _complete(view: View) -> None:
    """Numbers and words, and the tensors by their canonical names."""
    _READERS[view.format](view)
    for name, tensor in view.archive.tensors.items():
        canonical = mapping.canonical_name(name) or name
        if canonical in view.tensors:
            view.twice.append(name)
        else:
            view.tensors[canonical] = Seen(tensor, _order(view, name))


def _opened(path: Path, container: Container, broken: list[Broken]) -> Archive:
    """A GGUF file whose table alone is broken is looked at all the same: what else is wrong with it is to be found, too."""
    try:
        return open_archive(path, lenient=container.keeps_ill_fitting, as_row_major=True)
    except (DuplicateNameError, TensorOverlapError) as error:
        archive, found = as_it_stands(path)
        if not found:
            raise
        broken += [
            replace(each, detail=f"{each.detail}, so that no loader takes the file: {error.problem}") for each in found
        ]
        return archive


def _order(view: View, name: str) -> int:
    """GGUF's names go with GGUF's rows, Hugging Face's with halves; in APR rope_type says it, whatever the names."""
    if view.format == "apr" and view.archive.metadata.get("rope_type") in (mapping.PAIRS, mapping.HALVES):
        return int(view.archive.metadata["rope_type"])
    return mapping.HALVES if mapping.gguf_name(name) is not None else mapping.PAIRS


def _architecture(named: Iterable[Any]) -> str | None:
    """By the first name that is known; one that nobody here knows is the first that is there, as GGUF would have it."""
    words = [word for word in named if isinstance(word, str)]
    known = (_ARCHITECTURES[word.lower()] for word in words if word.lower() in _ARCHITECTURES)
    return next(known, next(iter(words), None))


def _of_gguf(view: View) -> None:
    view.architecture = mapping.architecture_of(view.archive.metadata)
    view.numbers = mapping.numbers_of(view.archive.metadata)


def _of_apr(view: View) -> None:
    metadata = view.archive.metadata
    view.architecture = _architecture(metadata.get(key) for key in ("architecture", "hf_architecture", "model_type"))
    view.numbers = {row: value for row in NUMBERS if (value := lookup(metadata, row.apr)) is not None}
    assert isinstance(view.archive, apr.reader.AprArchive)
    for name, error in view.archive.ill_fitting.items():
        entry = view.archive.stated[name]
        kind = TYPES_BY_CODE.get(entry.code)
        view.ill_fitting[name] = IllFitting(
            error.problem, f"code {entry.code}" if kind is None else kind.name, entry.shape
        )


def _of_config(view: View) -> None:
    config = read_json(view.path, "config.json")
    if config is None:
        return
    view.config = config
    named, rope = config.get("architectures") or [], config.get("rope_parameters") or {}
    for value, kind, key in ((named, list, "architectures"), (rope, dict, "rope_parameters")):
        if not isinstance(value, kind):
            words = f"{key} is {type(value).__name__} {value!r:.40}, not a {kind.__name__}"
            raise UnreadableError(words, file=beside(view.path, "config.json"))
    view.architecture = _architecture([*named, config.get("model_type")])
    everywhere = {**config, **rope}
    view.numbers = {row: value for row in NUMBERS if (value := everywhere.get(row.hugging_face)) is not None}


_READERS: dict[str, Callable[[View], None]] = {"gguf": _of_gguf, "apr": _of_apr, "safetensors": _of_config}


def read_json(path: Path, name: str) -> dict[str, Any] | None:
    """A JSON object beside the weights; None where there is none. Raises UnreadableError for a file that is no object."""
    file = beside(path, name)
    if file is None:
        return None
    try:
        data = foreign.read_file(file)
        if len(data) > _CONFIGURATION and name != "tokenizer.json":
            raise UnreadableError(f"it has {len(data):,} bytes, where {_CONFIGURATION:,} are allowed", file=file)
        # NaN is what Python writes there, and what its loaders take.
        return foreign.json_object(data, file=file, constants=True)
    except UnreadableError:
        raise
    except RosettaError as error:
        raise UnreadableError(error.problem, file=file, offset=error.offset) from error


#: Bytes of a configuration file: those of released models have some kB, with a chat template in them.
_CONFIGURATION = 4 << 20


def read_text(path: Path, name: str) -> str | None:
    """A text beside the weights; None where there is none. Raises UnreadableError for one that is not UTF-8."""
    file = beside(path, name)
    try:
        return None if file is None else foreign.text_of(foreign.read_file(file), file=file)
    except RosettaError as error:
        raise UnreadableError(error.problem, file=file, offset=error.offset) from error


def beside(path: Path, name: str) -> Path | None:
    """A file of a model's directory, or beside its weights, if it is there."""
    file = (path if path.is_dir() else path.parent) / name
    return file if file.is_file() else None
