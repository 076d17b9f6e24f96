"""The seams: every place of the reference, and of the gate, that a wrong part may take. Nothing else is ever replaced.

A seam is a public name in a module, with the signature that callers rely on, so that it is a contract: whoever changes or renames
such a function finds it here, and a replacement that cannot be called in its place is refused. A member is made of parts,
`seams.DECODED.by(wrong)`; what stood there before is `seams.DECODED.right`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from rosetta_ref.errors import RosettaError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class SeamError(RosettaError):
    """What takes the place of a part can be called, or used, as the part is."""


@dataclass(frozen=True)
class Seam:
    """A place that a wrong part may take.

    module, name: where callers look the part up; "module:Class" for an attribute of a class. signature: how it is called, or the
    type of a table or number. each: it is an attribute of every object of the class, each of which is a place: see `of`.
    """

    module: str
    name: str
    signature: str
    each: bool = False
    one: Any = None

    @property
    def place(self) -> Any:
        """The module, class or object whose attribute it is."""
        if self.one is not None:
            return self.one
        module, _, held = self.module.partition(":")
        found = import_module(module)
        return getattr(found, held) if held else found

    @property
    def right(self) -> Any:
        """What stands there; a member keeps it from before anything is replaced."""
        return vars(self.place)[self.name]

    def of(self, one: Any) -> Seam:
        """The same attribute of one object."""
        return replace(self, one=one)

    def by(self, wrong: Any) -> Part:
        """That part instead. Raises SeamError for one that callers could not use."""
        if not fits(self.right, wrong):
            raise SeamError(f"{self.module}.{self.name} is {self.signature}, which {wrong!r} is not")
        return Part(self, wrong)


@dataclass(frozen=True)
class Part:
    """A seam, and what takes its place."""

    seam: Seam
    wrong: Any


def fits(right: Any, wrong: Any) -> bool:
    """Whether something may stand in the place of another: it takes every call, or is of the same type.

    >>> fits(lambda rows, *, inverse=False: 0, lambda rows, **_: 0), fits(lambda rows: 0, lambda rows, heads: 0)
    (True, False)
    """
    if not callable(right):
        return right is None or isinstance(wrong, type(right))
    if not callable(wrong):
        return False
    try:
        for places, names in _calls([*inspect.signature(right).parameters.values()]):
            inspect.signature(wrong).bind(*places, **dict.fromkeys(names))
    except TypeError:
        return False
    return True


def _calls(parameters: list[inspect.Parameter]) -> tuple[tuple[list[None], list[str]], tuple[list[None], list[str]]]:
    """Calls with all arguments, and with those alone that have no default: how many by place, and which by name."""
    named = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    bare = [one for one in parameters if one.default is one.empty]
    return (
        ([None for one in parameters if one.kind in _POSITIONAL], named),
        ([None for one in bare if one.kind in _POSITIONAL], [one.name for one in bare if one.name in named]),
    )


@dataclass(frozen=True)
class Replacement:
    """Parts that are wrong together, for the record of a member. Called, it is a context in which they are in their places."""

    parts: tuple[Part, ...]

    def __call__(self) -> AbstractContextManager[None]:
        """Put the parts in their places, until it is closed."""
        return replaced(*self.parts)


@contextmanager
def replaced(*parts: Part) -> Iterator[None]:
    """Wrong parts in their places, for all of the process, until it is closed."""
    with ExitStack() as undo:
        for part in parts:
            place, name = part.seam.place, part.seam.name
            put: Callable[[Any, str, Any], None] = setattr if isinstance(place, type) else object.__setattr__
            undo.callback(put, place, name, vars(place)[name])
            put(place, name, part.wrong)
        yield


def replacing(*parts: Part) -> Replacement:
    """`replaced` for the record of a member."""
    return Replacement(parts)


def nothing(*_: Any, **__: Any) -> None:
    """In the place of a check."""


# --- what the converter does with a model ------------------------------------------------------------------------------------

_CONVERT, _WRITING = "rosetta_ref.convert", "rosetta_ref.convert.writing"
_HF, _APRENDER = "rosetta_ref.architectures.huggingface", "rosetta_ref.architectures.aprender"
_OF_MODEL = "(tensors: Mapping[str, Tensor], metadata: Mapping[str, Value], model: Model) -> None"

CHECK = Seam(
    _WRITING, "check",
    "(written: Archive, expected: Archive, origins: Mapping[str, Tensor], *, sums: bool = False, sha256: bool = False, "
    "progress: ProgressLike | None = None) -> dict[str, Sums]",
)  # fmt: skip
REOPEN = Seam(_WRITING, "reopen", "(kind: str, path: Path, lenient: bool) -> Archive")
CHECK_METADATA = Seam(_WRITING, "check_metadata", "(written: Archive, plan: Plan) -> None")
PLAN_GGUF = Seam("rosetta_ref.convert.target", "plan_gguf", "(model: Archive, *, wanted: Encoding | None) -> Plan")
COMPLETE_MODEL = Seam(_CONVERT, "require_complete", _OF_MODEL)
DECODED = Seam("rosetta_ref.convert.target", "decoded", "(tensor: Tensor, name: str = F32) -> Tensor")
ENCODED = Seam(
    "rosetta_ref.convert.encoding", "encoded", "(tensor: Tensor, name: str, importance: Floats | None = None) -> Tensor"
)
TYPES_OF = Seam(
    "rosetta_ref.architectures.mixes", "types_of",
    "(mix: Mix, tensors: Iterable[Tensor], metadata: Mapping[str, Value], *, weighted: bool) -> dict[str, str]",
)  # fmt: skip

# --- names, rows, numbers and words -------------------------------------------------------------------------------------------

LAYER = Seam("rosetta_ref.architectures.record:Model", "layer", "tuple", each=True)
ROW_HEADS = Seam("rosetta_ref.architectures.transforms:PermuteRows", "heads", "(self, sizes: Sizes) -> int")
ROW_ORDER = Seam(
    "rosetta_ref.architectures.heads",
    "row_order",
    "(rows: int, heads: int, *, inverse: bool = False) -> NDArray[np.intp]",
)
TRANSFORMS_OF = Seam(_HF, "transforms_of", "(model: Model, role: Role, name: str) -> tuple[Transform, ...]")
TENSOR_TO_HUGGINGFACE = Seam(
    _HF,
    "tensor_to_huggingface",
    "(tensor: Tensor, metadata: Mapping[str, Value], model: Model | None = None) -> Tensor",
)
TENSORS_TO_GGUF = Seam(
    _HF, "tensors_to_gguf",
    "(archive: Archive, config: Mapping[str, Any], model: Model, metadata: Mapping[str, Value], rope: Rope) -> dict[str, Tensor]",
)  # fmt: skip
TO_HUGGINGFACE = Seam(_HF, "to_huggingface", "(model: Archive) -> tuple[Archive, dict[str, bytes]]")
COMPLETE_DIRECTORY = Seam(_HF, "require_complete", _OF_MODEL)
VOCABULARY_OF = Seam(
    _HF, "vocabulary_of", "(config: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int) -> int"
)
FILES_OF = Seam(_HF, "files_of", "(model: Archive, known: Model) -> dict[str, bytes]")
CONFIG_OF_METADATA = Seam(
    _HF, "config_of_metadata",
    "(metadata: Mapping[str, Value], model: Model, rope_freqs: dict[str, Any] | None) -> dict[str, Any]",
)  # fmt: skip
METADATA_OF_CONFIG = Seam(
    _HF, "metadata_of_config", "(config: Mapping[str, Any], model: Model, rope: Rope) -> dict[str, Value]"
)
TOKENIZER_FILES = Seam(_HF, "tokenizer_files", "(metadata: Mapping[str, Value]) -> dict[str, bytes]")
TOKENIZER_METADATA = Seam(
    _HF, "tokenizer_metadata",
    "(files: Mapping[str, bytes], vocab_size: int, *, space_prefix: bool | None = None, spare: bool = False, "
    "notes: list[str] | None = None) -> dict[str, Value]",
)  # fmt: skip
TO_APR = Seam(_APRENDER, "to_apr", "(model: Archive, *, keep_names: bool = False, extra: bool = True) -> Archive")
OWN_KEYS = Seam(
    _APRENDER, "own_keys",
    "(metadata: Mapping[str, Value], architecture: Any, tensors: Mapping[str, Tensor], *, rope: bool = True) -> dict[str, Any]",
)  # fmt: skip
ROPE_TYPE_OF = Seam(_APRENDER, "rope_type_of", "(metadata: Mapping[str, Any], model: Model, hf: bool) -> int")
TOKENIZER_KEYS = Seam(
    "rosetta_ref.architectures.aprender_keys", "tokenizer_keys", "(metadata: Mapping[str, Value]) -> dict[str, Any]"
)

# --- types and bytes ----------------------------------------------------------------------------------------------------------

_TYPE = "rosetta_ref.quant.block:BlockType"
DECODE = Seam(_TYPE, "decode", "(blocks: Any, out: Floats | None = None) -> Floats", each=True)
ENCODE = Seam(_TYPE, "encode", "(values: Any, importance: Any = None) -> Blocks", each=True)
SPAN_READ = Seam("rosetta_ref.sources:Span", "read", "(self, start: int, stop: int) -> Bytes")

# --- containers ---------------------------------------------------------------------------------------------------------------

_GGUF, _APR, _SAFETENSORS = (f"rosetta_ref.formats.{name}" for name in ("gguf", "apr", "safetensors"))

GGUF_WRITE = Seam(
    _GGUF, "write",
    "(archive: Archive, path: str | Path, *, lenient: bool = False, part: bool = False, progress: Progress | None = None) -> None",
)  # fmt: skip
GGUF_TURNED = Seam(f"{_GGUF}.layout", "turned", "(dimensions: Iterable[int]) -> tuple[int, ...]")
GGUF_TYPE_OF = Seam(f"{_GGUF}.reader", "type_of", "(id_: int) -> BlockType")
GGUF_ALIGNMENT_READ = Seam(f"{_GGUF}.reader", "alignment_of", "(metadata: dict[str, Value]) -> int")
GGUF_PLACEMENT = Seam(
    f"{_GGUF}.reader",
    "check_placement",
    "(cursor: Cursor, entries: Sequence[Entry], start: int, alignment: int) -> None",
)
GGUF_SWAPPED = Seam(f"{_GGUF}.reader", "Swapped", "(source: Source, dtype: np.dtype[Any]) -> None")
GGUF_MERGED = Seam(f"{_GGUF}.split", "merged", "(path: Path, files: list[OneFile]) -> Archive")
GGUF_ALIGNMENT_WRITTEN = Seam(f"{_GGUF}.writer", "alignment_of", "(metadata: dict[str, Value]) -> int")
GGUF_CHECK_TENSOR = Seam(f"{_GGUF}.writer", "check_tensor", "(tensor: Tensor, lenient: bool) -> None")
GGUF_PIECES = Seam(
    f"{_GGUF}.writer", "pieces_of", "(archive: Archive, lenient: bool, part: bool = False) -> list[Piece]"
)

_ENTRIES = "(entries: Sequence[Entry], data_offset: int) -> None"
APR_WRITE = Seam(_APR, "write", "(archive: Archive, path: str | Path, *, progress: Progress | None = None) -> None")
APR_PARSE = Seam(f"{_APR}.index", "parse", "(section: memoryview, count: int, at: int) -> tuple[list[Entry], int]")
APR_CHECK_ALIGNMENT = Seam(f"{_APR}.index", "check_alignment", _ENTRIES)
APR_CHECK_OVERLAP = Seam(f"{_APR}.index", "check_overlap", _ENTRIES)
APR_END = Seam(
    f"{_APR}.reader", "end_of", "(source: FileMap, header: Header, entries: list[Entry]) -> tuple[int, bool]"
)
APR_REFUSED = Seam(f"{_APR}.reader", "REFUSED", "dict")
APR_CODES = Seam(f"{_APR}.writer", "CODES", "dict")
APR_ROW_MAJOR = Seam(f"{_APR}.writer", "ROW_MAJOR", "int")
APR_SIZE_OF = Seam(f"{_APR}.writer", "size_of", "(kind: BlockType, shape: Sequence[int]) -> int")
APR_ENTRY = Seam(f"{_APR}.writer", "entry_of", "(tensor: Tensor, offset: int) -> bytes")
APR_INDEX = Seam(f"{_APR}.writer", "index_of", "(tensors: Mapping[str, Tensor]) -> bytes")
APR_CHECK_METADATA = Seam(f"{_APR}.writer", "check_metadata", "(metadata: Mapping[str, Any]) -> None")

SAFETENSORS_WRITE = Seam(
    _SAFETENSORS, "write", "(archive: Archive, path: str | Path, *, progress: Progress | None = None) -> None"
)
SAFETENSORS_WRITE_SHARDED = Seam(
    _SAFETENSORS, "write_sharded",
    "(archive: Archive, directory: str | Path, layout: Sequence[Shard], *, index_metadata: Mapping[str, Any] | None = None, "
    "progress: Progress | None = None) -> list[Path]",
)  # fmt: skip
SAFETENSORS_HEADER_TEXT = Seam(f"{_SAFETENSORS}.reader", "header_text", "(file: FileMap) -> tuple[str, int]")
SAFETENSORS_SPANS = Seam(
    f"{_SAFETENSORS}.reader", "check_spans", "(entries: list[_Entry], file: FileMap, base: int) -> None"
)
SAFETENSORS_READ_INDEX = Seam(f"{_SAFETENSORS}.shards", "read_index", "(path: str | Path) -> Index")
SAFETENSORS_ASSIGNED = Seam(
    f"{_SAFETENSORS}.shards", "assigned", "(archive: Archive, file: str, index: Index) -> dict[str, Tensor]"
)
SAFETENSORS_HEADER = Seam(
    f"{_SAFETENSORS}.writer", "header_of", "(tensors: list[Tensor], metadata: Mapping[str, Any], path: Path) -> bytes"
)

# --- the gate, for verifiers that are wrong on purpose ------------------------------------------------------------------------

JUDGE = Seam(
    "rosetta_ref.gate.judge.cache", "judge",
    "(source: View, target: View, *, gate: str | None = None, lossless: bool = False, asked: str | None = None, "
    "loses: tuple[str, ...] = ()) -> Judged",
)  # fmt: skip

#: All of them by their names here.
SEAMS: dict[str, Seam] = {name: value for name, value in vars().items() if isinstance(value, Seam)}
