"""A file as the judge sees it: its tensors by their canonical names, as stored, and the numbers and words of the model.

Leniency ends here: shapes are those that stand in the file, a tensor whose size does not fit its type is listed as such, and what
cannot be read at all is an UnreadableError with the reader's own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.detect import open_archive, sniff
from rosetta_ref.formats.errors import BadMetadataError, DuplicateNameError
from rosetta_ref.formats.gguf import errors as gguf
from rosetta_ref.formats.registry import Container, of
from rosetta_ref.gate.judge import mapping, models
from rosetta_ref.gate.judge.broken_table import Broken, as_it_stands
from rosetta_ref.gate.judge.container import of as container_of
from rosetta_ref.gate.judge.mapping import MODELS, Number
from rosetta_ref.gate.judge.model import NONE_AT_ZERO

#: Names of an architecture in APR's metadata and in config.json.
_ARCHITECTURES = {
    word: name for name, model in MODELS.items() for word in (model.hugging_face.lower(), model.model_type)
}
_ARCHITECTURES |= dict(zip(MODELS, MODELS, strict=True))
_ARCHITECTURES |= {
    word: name for name, model in MODELS.items() if model.within for word in (model.within[0].lower(), model.within[1])
}
#: The keys of APR's metadata that may name it.
APR_ARCHITECTURE = ("architecture", "hf_architecture", "model_type")


#: Rules of the metadata: each key once, and what a value is, but not which tensors there are.
_OF_METADATA = (
    *(BadMetadataError, gguf.DuplicateKeyError, gguf.LongKeyError, gguf.LongStringError, gguf.LongArrayError),
    gguf.DeepArrayError,
)
#: What a finding about an output that cannot be read is called.
UNREADABLE = ("unreadable", "metadata-unreadable", "twice")


class UnreadableError(RosettaError):
    """What a converter writes can be read."""

    @property
    def kind(self) -> str:
        """The kind of the finding: by the rule that the reader saw broken, never by its words, which a file may hold as well."""
        cause = self.__cause__
        if isinstance(cause, _OF_METADATA):
            return "metadata-unreadable"
        return "twice" if isinstance(cause, DuplicateNameError) else "unreadable"


@dataclass(frozen=True)
class Seen:
    """A tensor of a file; `order` is how its rows stand where formats differ in that: mapping.PAIRS or mapping.HALVES."""

    tensor: Tensor
    order: int
    #: Whether it stands under Hugging Face's name: then it has Hugging Face's numbers, where GGUF's are others.
    theirs: bool = False


@dataclass(frozen=True)
class IllFitting:
    """A tensor whose bytes are not those of its type and shape: what the file says of it; "code 77" for one that is no type's."""

    problem: str
    type: str
    shape: tuple[int, ...]


@dataclass
class View:
    """One file. `tensors` goes by canonical name, `ill_fitting` by stored name; `twice` are names that stand there once more.

    `architecture` is what the file says, `reading` the record that its names and numbers were read by: that one, or where nobody
    knows it the plainest that has most of the names.
    """

    path: Path
    format: str
    archive: Archive
    architecture: str | None = None
    reading: str | None = None
    tensors: dict[str, Seen] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    ill_fitting: dict[str, IllFitting] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    numbers: dict[Number, Any] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    #: Whether the text model stands inside of another one, whose names of tensors begin otherwise.
    inside: bool = False

    def heads(self, name: str) -> int | None:
        """The heads over which that tensor's rows may stand in two orders; None where they cannot."""
        model = MODELS.get(self.architecture or "")
        return self.rotated_heads(name) if model is not None and model.pairs else None

    def rotated_heads(self, name: str) -> int | None:
        """The heads of a tensor whose rows rope turns against each other, whether formats differ in their order or not."""
        model = MODELS.get(self.architecture or "")
        role = model.role(name) if model is not None else None
        if role is None or not role.rotated:
            return None
        heads = self._whole("attention.head_count")
        return heads if role.shape[0] == "Q" else self._whole("attention.head_count_kv") or heads

    @property
    def head_counts(self) -> set[int]:
        """How many heads the tensors have whose rows rope turns: those of q, and those of k and v."""
        model = MODELS.get(self.architecture or "")
        names = [f"blk.0.{role.gguf}.weight" for role in model.layer] if model is not None else []
        return {heads for name in names if (heads := self.rotated_heads(name)) is not None}

    def pluses(self, name: str, other: View) -> tuple[int, ...]:
        """What may be added to a tensor of this file on the way to the other one, each of which is right; (0,) nearly always.

        A name tells whose numbers a tensor has. Under a name of another format it may as well have those of its own format's; where
        it has no name that is known, only those, and in APR, where both are at home, either.
        """
        role = mapping.role_of(name, self.architecture) if self.architecture in MODELS else None
        if role is None or not role.plus:
            return (0,)
        there, at_home = other.tensors.get(name), container_of(other.format).AT_HOME
        wanted = (*((there.theirs,) if there is not None else ()), *at_home)
        wanted = wanted[:1] if there is not None and len(at_home) > 1 else tuple(dict.fromkeys(wanted))
        here = self.tensors[name].theirs
        return tuple(role.plus * (here - theirs) for theirs in wanted)

    @property
    def rows(self) -> int:
        """How rows of q and k stand in such a file, whatever a tensor is called: mapping.PAIRS or mapping.HALVES."""
        return container_of(self.format).rows(self)

    def stored_type(self, tensor: Tensor) -> str:
        """The type that the file gives a tensor, whatever its bytes are."""
        ill = self.ill_fitting.get(tensor.name)
        return tensor.type.name if ill is None else ill.type

    def _whole(self, key: str) -> int | None:
        found = next((value for row, value in self.numbers.items() if row.gguf == key), None)
        return found if type(found) is int and found > 0 else None

    def read_as(self, other: View) -> View:
        """The same file, its names and numbers read as those of the other's architecture, whatever it says that it is.

        That it says something else is a finding of its own; read by another record, every tensor would be one more.
        """
        if self.reading == other.reading or other.architecture not in MODELS:
            return self
        made = replace(self, tensors={}, twice=[], numbers={})
        _read_as(made, other.architecture)
        return made

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
        raise UnreadableError(f"it cannot be read: {error}", file=path) from error
    view = View(path, kind, archive, broken=broken)
    try:
        _complete(view)
    except BaseException:
        archive.close()
        raise
    return view


def _complete(view: View) -> None:
    """Numbers and words, and the tensors by their canonical names."""
    container_of(view.format).look(view)
    _read_as(view, models.reading(view.architecture, view.archive.tensors).name)


def _read_as(view: View, architecture: str) -> None:
    """Fill in numbers and tensors, with the names of that architecture."""
    view.reading = architecture
    theirs = container_of(view.format).AT_HOME == (True,)
    found = container_of(view.format).numbers(view, mapping.number_rows(architecture))
    view.numbers = {row: value for row, value in found.items() if row.gguf not in NONE_AT_ZERO or value != 0}
    for name, tensor in view.archive.tensors.items():
        if theirs and MODELS[architecture].is_aside(name):
            continue
        canonical = mapping.canonical_name(name, architecture) or name
        if canonical in view.tensors:
            view.twice.append(name)
        else:
            view.tensors[canonical] = Seen(
                tensor, _order(view, name), mapping.gguf_name(name, architecture) is not None
            )


def _opened(path: Path, container: Container, broken: list[Broken]) -> Archive:
    """A GGUF file whose table alone is broken is looked at all the same: what else is wrong with it is to be found, too."""
    try:
        return open_archive(path, lenient=container.keeps_ill_fitting, as_row_major=True)
    except (gguf.DuplicateTensorError, gguf.TensorOverlapError) as error:
        archive, found = as_it_stands(path)
        if not found:
            raise
        broken += [
            replace(each, detail=f"{each.detail}, so that no loader takes the file: {error.problem}") for each in found
        ]
        return archive


def _order(view: View, name: str) -> int:
    """GGUF's names go with GGUF's rows, Hugging Face's with halves; in APR rope_type says it, whatever the names."""
    stated = container_of(view.format).stated_rows(view)
    if stated is not None:
        return stated
    return mapping.HALVES if mapping.gguf_name(name, view.reading) is not None else mapping.PAIRS


def named_architecture(named: Iterable[Any]) -> str | None:
    """By the first name that is known; one that nobody here knows is the first that is there, as GGUF would have it."""
    words = [word for word in named if isinstance(word, str)]
    known = (_ARCHITECTURES[word.lower()] for word in words if word.lower() in _ARCHITECTURES)
    return next(known, next(iter(words), None))


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
