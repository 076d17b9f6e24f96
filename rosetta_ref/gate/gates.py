"""The gates by name, each with what it asks. A case, a finding and a piece of evidence belong to one of them."""

from __future__ import annotations

from rosetta_ref.formats.registry import of
from rosetta_ref.gate.pairs import LETTERS, PAIRS

#: The gate of malformed files, which others ask for by name.
SAFE = "F-CONV-SAFE-001"


def _of_pair(pair: str) -> str:
    source, target = (of(LETTERS[letter]).title for letter in pair.split("-"))
    return f"{source} -> {target}: every tensor, shape and value"


#: By name: what the gate asks.
GATES = {f"F-CONV-{number:03}": _of_pair(pair) for number, pair in enumerate(PAIRS, start=1)} | {
    "F-CONV-CARD-001": "no tensor is lost, none invented, none there twice",
    "F-CONV-NAME-001": "tensors have the names that loaders of the target look for",
    "F-CONV-META-001": "configuration and tokenizer arrive: every number, token, score, merge and special id",
    "F-CONV-RT-001": "GGUF -> APR -> SafeTensors -> GGUF; bit for bit where the entry claims `lossless`",
    "F-CONV-RT-002": "SafeTensors -> APR -> GGUF -> SafeTensors",
    "F-CONV-RT-003": "SafeTensors -> APR -> GGUF -> APR -> SafeTensors",
    "F-CONV-RT-004": "SafeTensors -> APR -> GGUF -> APR",
    "F-CONV-ABA-001": "there and back, for each pair that has a way back",
    "F-CONV-COM-001": "the direct way gives what the way over the third format gives",
    "F-CONV-IDEM-001": "the same conversion twice gives the same tensors and metadata",
    "F-CONV-DET-001": "... and the same bytes",
    "F-CONV-BE-001": "the converted model gives the answers of its source",
    "F-CONV-QUANT-001": "within one format: names, shapes and metadata are kept, errors bounded",
    SAFE: "malformed files are refused: with a message, a refusing exit code, nothing left behind",
}
