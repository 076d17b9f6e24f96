"""What a conversion may be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What a conversion may be told.

    dtype: what decoded tensors become in SafeTensors: exact (the first of BF16, F16, F32 that holds every value), f32, f16, bf16.
    type: re-encode float tensors as this mix of llama.cpp's (Q4_K_M), or to this block type, into GGUF or APR.
    pure: without the exceptions that a mix makes.
    imatrix: the importance matrix that the encoders weigh columns with, a GGUF file of llama-imatrix.
    keep_blocks: keep original blocks and metadata in `rosetta/` beside Hugging Face weights.
    extra_keys: carry what the target has no place for under `rosetta.*` keys.
    apr_native: decode the types that APR has no code for.
    keep_names: carry tensors as stored, whatever their names.
    lenient: take what C accepts, and write what ggml refuses.
    max_shard_size: bytes of a SafeTensors shard at most.
    checksums: where to write the manifest of SHA-256 sums.
    force: replace an existing target.
    durable: wait for the disk before anything gets its name; without, it is whole after a kill, but not after a power failure.
    """

    dtype: str = "exact"
    type: str | None = None
    pure: bool = False
    imatrix: str | Path | None = None
    keep_blocks: bool = True
    extra_keys: bool = True
    apr_native: bool = False
    keep_names: bool = False
    lenient: bool = False
    max_shard_size: int = 5_000_000_000
    checksums: str | Path | None = None
    force: bool = False
    durable: bool = True
