"""The containers: a row for each, with everything that other packages have to know to tell them apart.

Whoever needs to know something about a format asks its row (`of("gguf").has_companions`) and does not compare its name. What a
package itself does for each format stands in a module of that name (`Container.part`), or in one dict. All of it is loaded when
it is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rosetta_ref.archive import Archive
    from rosetta_ref.quant import BlockType


@dataclass(frozen=True)
class Container:
    """One container format.

    name: what it is called everywhere in this package; also the name of its package below `formats`, and its suffix.
    letter, title: its letter in the name of a pair ("G-A"), and its name in prose.
    magic: the first bytes of each file; none where the format has no magic.
    reads, writes: the options that its reader and its writer know; others are left away for it.
    has_companions: configuration and tokenizer are files beside the weights, and a model may be a directory.
    only_ggml_types: a tensor has one of ggml's types, or none.
    has_ordered_metadata: a file says the keys of its metadata in an order; JSON has none.
    keeps_ill_fitting: read leniently, one tensor of a wrong size does not make the file unreadable.
    """

    name: str
    letter: str
    title: str
    magic: bytes = b""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ("progress",)
    has_companions: bool = False
    only_ggml_types: bool = False
    has_ordered_metadata: bool = False
    keeps_ill_fitting: bool = False

    @property
    def suffix(self) -> str:
        """What the name of a file ends in."""
        return f".{self.name}"

    @property
    def module(self) -> Any:
        """Its package, with `read`, `write` and `holds`."""
        return import_module(f"rosetta_ref.formats.{self.name}")

    def part(self, package: str) -> Any:
        """The module about this format in a package that has one for each."""
        return import_module(f"{package}.{self.name}")

    def read(self, path: str | Path, **options: Any) -> Archive:
        """Read one file, or all files that belong to it. Raises what the format's reader raises.

        `lenient` takes what a strict reader refuses; `shapes` says how shapes stand in a file that does not say.
        """
        archive: Archive = self.module.read(path, **self._known(options, self.reads))
        return archive

    def write(self, archive: Archive, path: str | Path, **options: Any) -> None:
        """Write one file. `lenient` and `progress` are as for `gguf.write`. Raises what the format's writer raises."""
        self.module.write(archive, path, **self._known(options, self.writes))

    def holds(self, kind: BlockType) -> bool:
        """Whether the format has a code of its own for that type."""
        found: bool = self.module.holds(kind)
        return found

    def walk(self, data: bytes, **options: Any) -> Any:
        """What each byte of a file is, whatever the bytes are: a `formats.fields.Walk`. Raises nothing."""
        return import_module(f"rosetta_ref.formats.{self.name}.fields").walk(data, **options)

    def is_directory(self, target: PurePath) -> bool:
        """Whether a target of that name, in this format, is a directory of files."""
        return self.has_companions and target.suffix.lower() != self.suffix

    @staticmethod
    def _known(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        return {name: value for name, value in options.items() if name in names}


CONTAINERS = {
    row.name: row
    for row in (
        Container(
            "gguf", "G", "GGUF", b"GGUF", ("lenient",), ("lenient", "progress"),
            only_ggml_types=True, has_ordered_metadata=True,
        ),
        Container("apr", "A", "APR", b"APR", ("lenient", "shapes"), keeps_ill_fitting=True),
        Container("safetensors", "S", "SafeTensors", has_companions=True),
    )
}  # fmt: skip
#: Their names.
FORMATS = tuple(CONTAINERS)
#: The formats by their letters in the names of pairs: "G-A" is GGUF -> APR.
LETTERS = {row.letter: row.name for row in CONTAINERS.values()}
BY_SUFFIX = {row.suffix: row for row in CONTAINERS.values()}


def of(name: str) -> Container:
    """The row of a format. Raises KeyError for a name that is none."""
    return CONTAINERS[name]


def with_magic() -> Iterator[Container]:
    """The formats whose files are known by their first bytes."""
    return (row for row in CONTAINERS.values() if row.magic)


def in_directories() -> Container:
    """The format of a model that is a directory."""
    return next(row for row in CONTAINERS.values() if row.has_companions)


def by_magic(head: bytes) -> Container | None:
    """The format that a file of these first bytes is in; None where they do not say it."""
    return next((row for row in with_magic() if head.startswith(row.magic)), None)


def by_suffix(path: PurePath) -> Container:
    """The format that the suffix of a path names; any other path is that of a directory.

    >>> by_suffix(PurePath("model.GGUF")).name, by_suffix(PurePath("v0.1")).name
    ('gguf', 'safetensors')
    """
    return BY_SUFFIX.get(path.suffix.lower()) or in_directories()
