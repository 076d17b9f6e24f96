"""What the APR reader and writer refuse, one class per rule."""

from __future__ import annotations

from rosetta_ref.formats import errors as kinds


class AprError(kinds.FormatError):
    """An APR file follows the rules of its container."""


class NotAprError(AprError, kinds.BadMagicError):
    """An APR v2 file begins with the bytes 41 50 52 00."""


class OldContainerError(AprError, kinds.UnsupportedVersionError):
    """Of the APR containers only version 2 can be read."""


class VersionError(AprError, kinds.UnsupportedVersionError):
    """The header's version is 2.0."""


class FlagError(AprError, kinds.UnsupportedFlagError):
    """A flag that changes what the data mean is honoured or refused, never ignored."""


class HeaderChecksumError(AprError):
    """The header's CRC-32 is that of its other 60 bytes."""


class TruncatedError(AprError, kinds.TruncatedError):
    """Everything that the header and the index promise lies inside the file."""


class TrailingBytesError(AprError, kinds.TrailingBytesError):
    """Behind the data stand the four bytes of the footer, or nothing."""


class FooterChecksumError(AprError):
    """The footer is the CRC-32 of every byte before it."""


class SectionError(AprError):
    """Header, metadata, index and data stand in this order and do not overlap."""


class LimitError(AprError, kinds.LimitError):
    """Names take at most 256 bytes, metadata 16 MiB, a shape 8 dimensions, and every number fits its field."""


class MetadataError(AprError, kinds.BadMetadataError):
    """The metadata is one JSON object in UTF-8, without NaN, Infinity or a key that stands twice."""


class MetadataTypeError(AprError, kinds.BadMetadataError):
    """A key that APR defines has the JSON type that APR defines for it."""


class AliasError(AprError, kinds.BadMetadataError):
    """A metadata key never stands beside one of its aliases."""


class IndexEntryError(AprError):
    """The index holds as many whole entries as the header says, and nothing but zeros behind them."""


class TensorNameError(AprError, kinds.BadUtf8Error):
    """A tensor's name is UTF-8, and not empty."""


class UnsortedIndexError(AprError):
    """The index is sorted by name, bytewise."""


class DuplicateNameError(AprError, kinds.DuplicateNameError):
    """No two tensors have the same name."""


class UnknownTypeError(AprError, kinds.UnknownTypeError):
    """A type code that is not in the table is never guessed at: read as F32 it gives garbage that looks like weights."""


class SizeMismatchError(AprError, kinds.SizeMismatchError):
    """A tensor's size in bytes is that of its type and shape."""


class MisalignedError(AprError, kinds.MisalignedError):
    """The data section, and every tensor in it, begins at a multiple of 64 bytes."""


class OverlapError(AprError, kinds.OverlapError):
    """No two tensors share a byte."""


class GgmlTypesError(AprError, kinds.BadMetadataError):
    """`rosetta.ggml_types` names, for U8 tensors of this file, a known type and a shape that fits their bytes."""


class UndecidableShapesError(AprError):
    """A file without the row-major flag shows by its embedding which way round its shapes stand."""
