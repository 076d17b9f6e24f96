"""Kinds of refusal that the formats have in common.

A format states its own rules as subclasses (`gguf.errors.TensorOverlapError` is an `OverlapError`), so a caller can ask
for the kind without knowing the format, and the message still says which rule was broken.
"""

from __future__ import annotations

from rosetta_ref.errors import RosettaError


class FormatError(RosettaError):
    """A file follows the rules of its format."""


class BadMagicError(FormatError):
    """A file begins with the magic of its format."""


class UnsupportedVersionError(FormatError):
    """The version of the format is one that this reader knows."""


class UnsupportedFlagError(FormatError):
    """Every flag that is set is one that this reader knows."""


class TruncatedError(FormatError):
    """Everything that a file announces lies inside the file."""


class TrailingBytesError(FormatError):
    """A file ends where its last part ends."""


class DuplicateNameError(FormatError):
    """A name or key occurs once."""


class OverlapError(FormatError):
    """No two tensors share bytes."""


class GapError(FormatError):
    """Tensors follow each other with nothing but padding between them."""


class MisalignedError(FormatError):
    """The data of a tensor begins at a multiple of the alignment."""


class SizeMismatchError(FormatError):
    """The size of a tensor is what its type and shape need."""


class UnknownTypeError(FormatError):
    """Every type is one that the format defines."""


class BadUtf8Error(FormatError):
    """Text is UTF-8."""


class LimitError(FormatError):
    """Counts, lengths and sizes are within the limits of the format."""


class BadMetadataError(FormatError):
    """Metadata that says how to read the file has the type and the value it must have."""


class MissingShardError(FormatError):
    """All parts of a split model are there."""


class UnwritableError(FormatError):
    """What is to be written has a place in the format."""
