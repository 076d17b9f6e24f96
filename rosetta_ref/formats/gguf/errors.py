"""One class per rule of GGUF; the first line of each is the rule, what follows says where the rule comes from.

"Bent" rules are let pass by `lenient=True`, which takes what ggml's own parser (or, for gaps, gguf-py) takes.
"""

from __future__ import annotations

from rosetta_ref.formats import errors as shared

# The file


class UnreadableFileError(shared.FormatError):
    """A file can be opened and read."""


class NotGgufError(shared.BadMagicError):
    """A GGUF file begins with the four bytes GGUF."""


class UnknownVersionError(shared.UnsupportedVersionError):
    """The version, in either byte order, is 2 or 3."""


class RetiredVersionError(shared.UnsupportedVersionError):
    """Version 1, of 2023 and with counts of 32 bits, is refused as by every reader of today."""


class TruncatedHeaderError(shared.TruncatedError):
    """Header, metadata and tensor table lie inside the file."""


class ImpossibleCountError(shared.TruncatedError):
    """A count is one that the rest of the file can hold."""


class NegativeCountError(shared.LimitError):
    """The counts of tensors and of keys are not negative."""


class TextUtf8Error(shared.BadUtf8Error):
    """Keys, strings and tensor names are UTF-8.

    Bent: ggml takes any bytes. They become surrogate escapes.
    """


# Metadata


class EmptyKeyError(shared.BadMetadataError):
    """A key has at least one byte."""


class LongKeyError(shared.LimitError):
    """A key has at most 65535 bytes.

    The GGUF document says so. Bent: ggml takes longer ones.
    """


class DuplicateKeyError(shared.DuplicateNameError):
    """A key occurs once."""


class UnknownKindError(shared.BadMetadataError):
    """The kind of a value is one of 0 to 12."""


class LongStringError(shared.LimitError):
    """A string has at most 2^30 bytes."""


class LongArrayError(shared.LimitError):
    """An array has at most 2^30 items."""


class DeepArrayError(shared.LimitError):
    """Arrays are nested at most 64 deep."""


class BoolValueError(shared.BadMetadataError):
    """A bool is 0 or 1.

    Bent: ggml takes any byte. It is kept.
    """


class AlignmentValueError(shared.BadMetadataError):
    """general.alignment is a u32 and a power of two."""


class SmallAlignmentError(shared.BadMetadataError):
    """general.alignment is a multiple of 8.

    The GGUF document says so. Bent: ggml takes 1, 2 and 4.
    """


# The tensor table


class DuplicateTensorError(shared.DuplicateNameError):
    """A tensor name occurs once, in all parts of a split model together."""


class LongNameError(shared.LimitError):
    """A tensor name has at most 64 bytes; written, at most 63.

    64 by the GGUF document, 63 by ggml, which ends names with a NUL. Bent.
    """


class DimensionCountError(shared.LimitError):
    """A tensor has at most 32 dimensions; written, at most 4.

    4 by ggml and bent; 32 by NumPy.
    """


class NegativeDimensionError(shared.LimitError):
    """No dimension is negative."""


class HugeTensorError(shared.LimitError):
    """The number of elements and of bytes of a tensor, and all of a model, fit 63 bits."""


class RemovedTypeError(shared.UnknownTypeError):
    """No tensor has a type that ggml has removed."""


class UnknownTensorTypeError(shared.UnknownTypeError):
    """The type id of a tensor is one that ggml defines."""


# Placement


class TensorAlignmentError(shared.MisalignedError):
    """The offset of a tensor is a multiple of the alignment."""


class TruncatedDataError(shared.TruncatedError):
    """The data of every tensor lies inside the file."""


class TensorOverlapError(shared.OverlapError):
    """No two tensors share bytes."""


class TensorGapError(shared.GapError):
    """A tensor begins where the padding of the one before it, in the order of the table, ends.

    Bent: gguf-py takes gaps and any order; ggml takes neither.
    """


class PaddingValueError(shared.FormatError):
    """Padding is zeros.

    The GGUF document says so. Bent: ggml does not look.
    """


class MissingPaddingError(shared.TruncatedError):
    """The last tensor is padded, too.

    Bent: ggml asks for it only where it loads the data.
    """


class TrailingDataError(shared.TrailingBytesError):
    """The file ends where the padding of the last tensor ends.

    Bent: ggml does not look.
    """


# Split models


class SplitKeyError(shared.BadMetadataError):
    """split.no and split.count are u16, split.tensors.count is an i32, and a part of a set has all of them that it needs."""


class SplitNameError(shared.BadMetadataError):
    """A part is named NAME-00001-of-0000N.gguf, with the number and the count that its metadata has."""


class MissingPartError(shared.MissingShardError):
    """Every part of a split model is there."""


class SplitTensorCountError(shared.BadMetadataError):
    """The parts have together as many tensors as split.tensors.count says."""


# Only when writing


class NestedArrayError(shared.UnwritableError):
    """No array has arrays in it.

    Bent: the format allows them, ggml refuses the file.
    """


class NulInNameError(shared.UnwritableError):
    """No key and no tensor name has a NUL in it.

    Bent: the format allows it, ggml cuts the name there.
    """


class UntypedValueError(shared.UnwritableError):
    """A metadata value is a `Value` whose data is of the kind that it names."""


class TypeWithoutIdError(shared.UnwritableError):
    """A tensor has a type that ggml defines."""


class TensorSizeError(shared.SizeMismatchError):
    """A tensor has the bytes that its type and shape need."""


class SplitRemnantError(shared.UnwritableError):
    """A single file does not say that it is a part of a set."""
