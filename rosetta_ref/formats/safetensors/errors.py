"""One class per rule of the format; the first line of each is the rule."""

from __future__ import annotations

from rosetta_ref.formats import errors as formats


class SafetensorsError(formats.FormatError):
    """A SafeTensors file follows the rules of its format."""


class TruncatedLengthError(SafetensorsError, formats.TruncatedError):
    """A file begins with 8 bytes: the length of the header, little-endian."""


class HeaderTooLargeError(SafetensorsError, formats.LimitError):
    """A header has at most 100,000,000 bytes."""


class TruncatedHeaderError(SafetensorsError, formats.TruncatedError):
    """The header ends inside the file."""


class HeaderEncodingError(SafetensorsError, formats.BadUtf8Error):
    """The header is UTF-8."""


class HeaderJsonError(SafetensorsError):
    """The header is one JSON object with nothing but white space around it."""


class MetadataError(SafetensorsError, formats.BadMetadataError):
    """`__metadata__` stands once in a header and maps strings to strings."""


class EntryError(SafetensorsError):
    """The entry of a tensor has a dtype, a shape and two data_offsets, each once, in unsigned integers."""


class UnknownDtypeError(SafetensorsError, formats.UnknownTypeError):
    """A dtype is one of the names of the format."""


class ShapeOverflowError(SafetensorsError, formats.LimitError):
    """The number of bits of a tensor fits 64 bits."""


class SubByteError(SafetensorsError):
    """A tensor ends on a byte boundary."""


class SizeMismatchError(SafetensorsError, formats.SizeMismatchError):
    """The data_offsets span what shape and dtype need."""


class DataOffsetsError(SafetensorsError, formats.OverlapError):
    """The tensors lie one behind the other from the start of the data, without a hole or an overlap."""


class CoverageError(SafetensorsError):
    """The tensors end where the file ends."""


class IndexJsonError(SafetensorsError):
    """An index is a JSON object whose weight_map maps tensor names to file names."""


class DuplicateIndexEntryError(SafetensorsError, formats.DuplicateNameError):
    """An index names a tensor once."""


class ShardPathError(SafetensorsError):
    """An index names files below its own directory."""


class MissingShardError(SafetensorsError, formats.MissingShardError):
    """Every file that an index or a numbered set names is there."""


class MissingTensorError(SafetensorsError):
    """The file that an index assigns a tensor to holds that tensor."""


class UnlistedTensorError(SafetensorsError):
    """Every tensor of the listed files is in the index."""


class DuplicateTensorError(SafetensorsError, formats.DuplicateNameError):
    """Without an index, a tensor is in one of the files only."""


class DuplicateEntryError(SafetensorsError, formats.DuplicateNameError):
    """A name stands once in a header."""


class NoWeightsError(SafetensorsError):
    """A model directory holds model.safetensors, an index with its shards, or one .safetensors file."""


class AmbiguousWeightsError(SafetensorsError):
    """A model directory says which of its files are the model."""


class UnwritableTypeError(SafetensorsError, formats.UnwritableError):
    """SafeTensors holds plain numbers: a block type has to be decoded first."""


class UnwritableNameError(SafetensorsError, formats.UnwritableError):
    """A tensor's name is Unicode text other than `__metadata__`."""


class TensorSizeError(SafetensorsError, formats.SizeMismatchError):
    """A tensor to be written has the bytes that its type and shape need."""


class LayoutError(SafetensorsError):
    """A layout of shards names every tensor of the archive once."""
