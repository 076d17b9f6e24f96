"""A member of the zoo: the reference converter with one part replaced, and the record of the bug.

`Member.broken` puts the wrong part where the right one is, for as long as it is open; everything in the process is wrong then,
other threads too. `unchecked` leaves out the checks that the reference makes of what it writes: a converter that shipped the bug
had none that saw it, so the wrong file is written and the converter says that all is well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetta_ref.archive import CHUNK, Archive, Tensor
from rosetta_ref.convert import Report, convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.foreign import open_file
from rosetta_ref.formats import detect
from rosetta_ref.formats.registry import of
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.seams import nothing, replaced, replacing

CLASSES = (
    "label", "lanes", "scales", "floats", "quantiser", "offsets", "shape", "heads", "values", "names", "shards",
    "metadata", "container", "endianness",
)  # fmt: skip

#: Makes an input below a folder.
Make = Callable[[Path], Path]
Broken = Callable[[], AbstractContextManager[None]]

#: One conversion at a time: a part is replaced for all of the process.
_LOCK = threading.RLock()
_EMBEDDINGS = (b"token_embd.weight", b"model.embed_tokens.weight")
_FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


class WaitingError(RosettaError):
    """A member is only a converter once the reference knows its architecture."""


@dataclass(frozen=True)
class Member:
    """A converter that is wrong on purpose, and what is known of the bug.

    id, klass: its name, and its class, one of `CLASSES`.
    origin, link: where it happened, "ours" for a plausible one of our own; a page about it where one is known.
    does, shows_on, blind: what the bad converter does, an input that shows it, and inputs that hide it.
    pairs: where it shows: "G-S" is GGUF to SafeTensors, "G-G" a quantiser.
    formats: those whose reading or writing has the wrong part in it.
    shown_by, hidden_by: make the smallest input that shows it, and one that hides it (None: nothing does).
    asks: the type that is asked for where the caller asks for none; the bug is in the way to that type.
    options: what its conversions are told besides; blocks are never kept, which would undo the bug on the way back.
    waiting_for: what the reference does not know yet, "experts"; None where it can run.
    alike: other members that write the very same for the smallest input, by their ids, and why: no diagnosis tells them apart.
    """

    id: str
    klass: str
    origin: str
    does: str
    shows_on: str
    blind: str
    pairs: tuple[str, ...]
    formats: tuple[str, ...]
    broken: Broken
    shown_by: Make | None = None
    hidden_by: Make | None = None
    link: str | None = None
    asks: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    waiting_for: str | None = None
    alike: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is no bug that is known to have happened."""
        return self.origin == "ours"

    def convert(self, src: str | Path, dst: str | Path, *, wrong: bool = True, **options: Any) -> Report:
        """Convert with the part replaced, unchecked; `wrong=False` is the reference, told the same. Raises what that raises.

        `type` is the type that is asked for, whatever the target; the other options are those of the reference.
        """
        chosen = self._chosen(Path(src), Path(dst), options)
        with _LOCK, ExitStack() as open_:
            if wrong:
                open_.enter_context(unchecked())
                open_.enter_context(self.broken())
            return convert(src, dst, **chosen)

    def _chosen(self, src: Path, dst: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(options)
        asked = given.pop("type", None) or (self.asks if self.asks and takes(self.asks, src, dst) else None)
        names = {} if "keep_names" in given else {"keep_names": not is_model(src)}
        # Nobody waits for the disk: what is wrong on purpose need not outlast a power failure.
        return {"keep_blocks": False, "durable": False, **names, **self.options, **asking(asked, dst), **given}


def asking(kind: str | None, dst: Path) -> dict[str, Any]:
    """The options that ask for a type: SafeTensors holds floats only, and keeps what it would hold where another is asked for."""
    if kind is None:
        return {}
    if of(detect.format_of_target(dst)).has_companions:
        return {"dtype": _FLOATS[kind]} if kind in _FLOATS else {}
    return {"type": kind, "pure": True}


def takes(kind: str, src: Path, dst: Path) -> bool:
    """Whether a type can be asked for: the target has a place for it, and nothing is rounded twice."""
    target = of(detect.format_of_target(dst))
    if target.has_companions:
        return True
    if target.only_ggml_types and TYPES[kind].id is None:
        return False
    try:
        with detect.open_archive(src, lenient=True) as archive:
            return all(tensor.type.is_scalar for tensor in archive.tensors.values())
    except RosettaError:
        return False


def is_model(path: Path) -> bool:
    """Whether names and numbers can be translated; arbitrary tensors are carried as stored. Damaged files are looked at, too."""
    if path.is_dir():
        return (path / "config.json").is_file()
    if path.suffix == ".safetensors":
        return (path.parent / "config.json").is_file()
    if not path.stat().st_size:
        return True  # a reader refuses it
    with open_file(path) as file:
        overlap = b""
        while data := file.read(CHUNK):
            if any(name in overlap + data for name in _EMBEDDINGS):
                return True
            overlap = data[-max(map(len, _EMBEDDINGS)) :]
    return False


def unchecked() -> AbstractContextManager[None]:
    """The reference without a second look at what it wrote: not read again, not compared.

    What a writer refuses to write is left out by the members that write it, so that the others are as strict as the reference.
    """
    return replaced(
        seams.CHECK.by(lambda *_, **__: {}),
        seams.REOPEN.by(lambda kind, *_: Archive(kind)),
        seams.CHECK_METADATA.by(nothing),
    )


_WRITERS = (seams.GGUF_WRITE, seams.APR_WRITE, seams.SAFETENSORS_WRITE, seams.SAFETENSORS_WRITE_SHARDED)


def writing_of(change: Callable[[Archive], Archive]) -> Broken:
    """Every writer writes what `change` makes of an archive: for bugs that belong to no one place of the reference."""

    def writer(write: Callable[..., Any]) -> Callable[..., Any]:
        return lambda archive, *args, **named: write(change(archive), *args, **named)

    return replacing(*(seam.by(writer(seam.right)) for seam in _WRITERS))


def writing_each(change: Callable[[Tensor], Tensor], *formats: str) -> Broken:
    """Writers of these formats (all, where none is named) write what `change` makes of each tensor."""

    def changed(archive: Archive) -> Archive:
        if formats and archive.format not in formats:
            return archive
        return replace(archive, tensors={name: change(one) for name, one in archive.tensors.items()})

    return writing_of(changed)
