"""One class per rule about files and texts of strangers; the first line of each is the rule."""

from __future__ import annotations

from rosetta_ref.errors import RosettaError


class ForeignTextError(RosettaError):
    """Text beside a model is as its format says, and no two readers could take it for different things."""


class NotAFileError(ForeignTextError):
    """What is read is a regular file: no directory, device, pipe or socket, and no endless chain of links."""


class LinkedFileError(ForeignTextError):
    """A file that is read here is no symbolic link."""


class UnreadableTextError(ForeignTextError):
    """A file is there, and may be read."""


class PointerError(ForeignTextError):
    """A file is the file itself, and not the pointer that Git LFS leaves in its place."""


class NoFileError(UnreadableTextError, FileNotFoundError):
    """What is read is there."""


class SystemRefusalError(ForeignTextError):
    """The system lets the files of a model be read and written."""


class MemoryRefusalError(ForeignTextError):
    """What a file asks for fits into memory."""


class EncodingError(ForeignTextError):
    """Text is UTF-8, without halves of surrogate pairs."""


class JsonError(ForeignTextError):
    """JSON is one value as RFC 8259 has it, each key of an object once, numbers finite."""


class DepthError(ForeignTextError):
    """Values are nested within the limit."""


class YamlError(ForeignTextError):
    """YAML is one document of plain values, without aliases."""


class TomlError(ForeignTextError):
    """TOML is a document of version 1.0 whose keys are no chains of names."""
