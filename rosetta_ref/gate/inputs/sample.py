"""What a converter is given: one model with three faces, the same weights as each format holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.archive import Archive


@dataclass(frozen=True)
class Sample:
    """An input of the gate.

    `model` is GGUF-shaped: GGUF's names, llama.cpp's row order of q and k, typed metadata, logical row-major shapes. `labels`
    says of each tensor which case it is: "q4_k/two-rows/index-coded". `architecture` is None for arbitrary tensors that are no
    model. `formats` are the faces that it has: quantised blocks have no SafeTensors face.
    """

    name: str
    model: Archive
    labels: Mapping[str, str]
    architecture: str | None = None
    formats: tuple[str, ...] = ("gguf",)
    seed: int = 0
    #: How many files each face but APR's has, and whether the SafeTensors face holds stale copies that its index does not name.
    shards: int = 1
    stale: bool = False
    #: Whether the GGUF face is big-endian, which no converter has to take; whether the APR face has Hugging Face's names and rows.
    big_endian: bool = False
    halves_in_apr: bool = False
    #: Companion files of the Hugging Face face by name (config.json, tokenizer.json, ...), made independently of the converter.
    companions: Mapping[str, bytes] = field(default_factory=dict)
    #: A real model: the file itself is its one face.
    path: Path | None = None

    @property
    def for_quantisers(self) -> bool:
        """Whether it has the blocks that encoders get wrong."""
        return any("/rough" in label for label in self.labels.values())
