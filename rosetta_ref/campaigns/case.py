"""One execution: a command line, and the files that it runs on.

Paths are relative to the folder that the command runs in. `in/` holds what it reads, `out/` what it may write. Beside that
folder lie `outside/`, which nothing may touch, and the temporary folder, which has to be empty afterwards.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str


@dataclass(frozen=True)
class Pipe:
    """A FIFO, to which nobody writes."""


@dataclass(frozen=True)
class Folder:
    """An empty folder."""


@dataclass(frozen=True)
class Sparse:
    """A file of zeros without blocks of its own."""

    size: int


Node = bytes | Link | Pipe | Folder | Sparse


@dataclass
class Case:
    """What is run. `words` is the command line; `labels` says what was done to the files.

    `target` is what a conversion writes; `made` are further paths that the command may write, whole folders included.
    """

    words: list[str]
    files: dict[str, Node]
    labels: list[str] = field(default_factory=list)
    target: str | None = None
    made: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The first word."""
        return self.words[0]

    @property
    def line(self) -> str:
        """The command line, to be shown."""
        return " ".join(["rosetta-ref", *map(ascii_word, self.words)])

    def lay_out(self, folder: Path) -> None:
        """Write the files; names that the file system does not take are left out."""
        for name, node in self.files.items():
            try:
                _lay_out(folder / name, node)
            except (OSError, ValueError):
                continue

    def as_json(self) -> dict[str, Any]:
        """As JSON, the bytes deflated."""
        return {
            "words": self.words, "labels": self.labels, "target": self.target, "made": list(self.made),
            "files": {name: _node_as_json(node) for name, node in self.files.items()},
        }  # fmt: skip

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Case:
        """The way back. Raises KeyError, TypeError and ValueError."""
        files = {name: _node_of_json(node) for name, node in values["files"].items()}
        return cls(list(values["words"]), files, list(values["labels"]), values["target"], tuple(values["made"]))


def ascii_word(word: str) -> str:
    """A word as it can be shown anywhere: quoted where it holds anything unusual."""
    return word if word.isascii() and all(letter.isalnum() or letter in "-_./=:*" for letter in word) else ascii(word)


def _lay_out(path: Path, node: Node) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(node, bytes):
        path.write_bytes(node)
    elif isinstance(node, Link):
        path.symlink_to(node.to)
    elif isinstance(node, Pipe):
        os.mkfifo(path)
    elif isinstance(node, Sparse):
        with path.open("wb") as file:
            file.truncate(node.size)
    else:
        path.mkdir(exist_ok=True)


def _node_as_json(node: Node) -> Any:
    if isinstance(node, bytes):
        return base64.b64encode(zlib.compress(node)).decode()
    if isinstance(node, Link):
        return {"link": node.to}
    return {"sparse": node.size} if isinstance(node, Sparse) else {"kind": type(node).__name__.lower()}


def _node_of_json(value: Any) -> Node:
    if isinstance(value, str):
        return zlib.decompress(base64.b64decode(value))
    if "link" in value:
        return Link(value["link"])
    if "sparse" in value:
        return Sparse(int(value["sparse"]))
    return Pipe() if value["kind"] == "pipe" else Folder()
