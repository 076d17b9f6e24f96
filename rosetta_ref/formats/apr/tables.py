"""The tables of the container: header, flags, type codes, metadata keys, limits.

    header (64) | metadata JSON | index entries | tensor data | footer: CRC-32 of all before it
                  each section, and each tensor, padded with zeros to a multiple of 64

An index entry: u16 name length, name, u8 type code, u8 dimensions, a u64 each, u64 offset from the data section, u64 bytes.
Everything is little-endian. Source of every rule: the crate `apr-format` 0.72.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from rosetta_ref.quant import TYPES, BlockType

MAGIC = b"APR\0"
#: First bytes of containers that are not this one, and what they are.
OTHERS = {
    b"APRN": "APR version 1 (classical models, MessagePack), which this reader does not know",
    b"APR1": "'APR1', a container that exists in documents only",
    b"APR2": "'APR2', a container that exists in documents only",
}


class Header(NamedTuple):
    """The fields of the header, in file order; 20 reserved zeros follow."""

    magic: bytes
    major: int
    minor: int
    flags: int
    tensor_count: int
    metadata_offset: int
    metadata_size: int
    index_offset: int
    data_offset: int
    checksum: int


HEADER = struct.Struct("<4sBBHIQIQQI20x")
#: Where the header's checksum stands: it covers the bytes on both sides of itself.
CHECKSUM = slice(40, 44)
ENTRY_TAIL = struct.Struct("<QQ")
#: The least bytes an index entry can take: an empty name and no dimensions.
ENTRY_MINIMUM = 20

ALIGNMENT = 64
MAX_METADATA = 16 << 20
MAX_NAME = 256
MAX_DIMENSIONS = 8
#: The most bytes an index entry can take.
MAX_ENTRY = ENTRY_MINIMUM + MAX_NAME + 8 * MAX_DIMENSIONS

FLAGS = {
    0x0001: "LZ4",
    0x0002: "ZSTD",
    0x0004: "encrypted",
    0x0008: "signed",
    0x0010: "sharded",
    0x0020: "quantized",
    0x0040: "filterbank",
    0x0080: "model card",
    0x0100: "streaming",
    0x0200: "has vocab",
    0x0400: "row-major",
    0x0800: "column-major",
}
QUANTIZED, HAS_VOCAB, ROW_MAJOR = 0x0020, 0x0200, 0x0400
#: Flags under which the bytes may not be what the index says. Writers set the compression bits without compressing
#: anything, so such a bit cannot be trusted either way.
REFUSED = {
    0x0001: "the data may or may not be compressed",
    0x0002: "the data may or may not be compressed",
    0x0004: "the data are encrypted",
    0x0010: "this is one shard of several, and the others are not named",
    0x0800: "the data are in column-major order",
}

#: Type codes as written. 3 to 7 are other types in ggml's numbering.
CODES = {
    "F32": 0, "F16": 1, "F64": 3, "I32": 4, "I64": 5, "I8": 6, "U8": 7, "Q4_K": 12, "Q6_K": 14, "BF16": 30, "AprQ4": 128,
    "AprQ8": 129,
}  # fmt: skip
TYPES_BY_CODE: dict[int, BlockType] = {code: TYPES[name] for name, code in CODES.items()}
#: How older writers spelled two of them.
TYPES_BY_CODE |= {8: TYPES["AprQ4"], 9: TYPES["AprQ8"]}

#: The metadata key that names true type and shape of U8 tensors whose ggml type has no code here.
GGML_TYPES = "rosetta.ggml_types"

#: Keys that APR defines, by the JSON type they must have; anything else makes the whole file unreadable for `apr`.
TYPED_KEYS = {
    "string": (
        "model_type", "name", "description", "author", "license", "data_source", "data_license", "version", "source",
        "original_format", "created_at", "chat_template", "chat_format", "architecture", "hf_architecture",
        "hf_model_type",
    ),
    "unsigned": (
        "total_size", "param_count", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "vocab_size",
        "intermediate_size", "max_position_embeddings", "rope_type", "head_dim", "num_experts", "num_experts_per_tok",
        "moe_intermediate_size",
    ),
    "number": ("rope_theta", "rms_norm_eps"),
    "object": ("quantization", "sharding", "special_tokens"),
}  # fmt: skip
#: Typed keys for which null is not the same as absent.
NOT_NULL = ("model_type", "total_size", "param_count")

ALIASES = {
    "hidden_size": ("hidden_dim", "d_model", "n_embd"),
    "num_layers": ("num_hidden_layers", "n_layers", "n_layer"),
    "num_heads": ("num_attention_heads", "n_heads", "n_head"),
    "num_kv_heads": ("num_key_value_heads", "n_kv_heads"),
    "vocab_size": ("n_vocab",),
    "intermediate_size": ("ffn_dim", "intermediate_dim", "n_inner"),
    "max_position_embeddings": ("max_seq_len", "context_length", "n_ctx"),
    "rms_norm_eps": ("layer_norm_eps", "norm_eps"),
}


def holds(kind: BlockType) -> bool:
    """Whether the format has a code for that type; others are stored as U8, see `GGML_TYPES`."""
    return kind.name in CODES


def aligned(size: int) -> int:
    """The next multiple of 64.

    >>> aligned(65)
    128
    """
    return -(-size // ALIGNMENT) * ALIGNMENT


def size_of(kind: BlockType, shape: Sequence[int]) -> int:
    """Bytes that the writer and the reader want of a tensor of that type and shape. Raises RaggedRowError."""
    return kind.nbytes(shape)


def flag_names(flags: int) -> list[str]:
    """The names of the bits that are set."""
    return [FLAGS.get(1 << bit, f"{1 << bit:#06x}") for bit in range(16) if flags >> bit & 1]
