"""Full vocabularies of published models, compressed: some converters know a tokenizer by what it makes of one text, and no other.

A vocabulary is read when it is asked for, once in a process. NOTICE.md says where each is from and who holds the rights.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from rosetta_ref.gate.converter.words import FULL


@dataclass(frozen=True)
class Full:
    """A byte-level vocabulary: tokens in order, those of them that are special, merges, and what GGUF says besides.

    `pre` is llama.cpp's name of the pre-tokenizer; `ids` are special ids by their name in GGUF's keys.
    """

    pre: str
    ids: dict[str, int] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    special: frozenset[str] = frozenset()
    merges: tuple[str, ...] = ()


#: Name: pre-tokenizer and special ids, as the GGUF files of NOTICE.md state them; Qwen2's as its config.json does.
_STATED = {
    "full-smollm2": Full("smollm", {"bos": 1, "eos": 2, "padding": 2}),
    "full-gpt2": Full("gpt-2", {"bos": 50256, "eos": 50256}),
    "full-qwen2": Full("qwen2", {"bos": 151643, "eos": 151645, "padding": 151643}),
}
assert tuple(_STATED) == FULL
#: Bytes that a file inflates to, at most: the largest has 2.3 MB.
_MOST = 8 << 20


@cache
def full(name: str) -> Full:
    """The vocabulary of that name. Raises KeyError for one that there is not."""
    stated = _STATED[name]
    parts = json.loads(_inflated((files(__name__) / f"{name}.json.xz").read_bytes()))
    first, merges, last = parts["first"], parts["merges"], parts["last"]
    tokens = (*first, *(merge.replace(" ", "") for merge in merges), *last)
    special = frozenset(token for token in (*first, *last) if len(token) > 1)
    return Full(stated.pre, stated.ids, tokens, special, tuple(merges))


def _inflated(data: bytes) -> bytes:
    inflater = lzma.LZMADecompressor(memlimit=128 << 20)
    made = inflater.decompress(data, _MOST)
    assert inflater.eof, f"a vocabulary inflates to more than {_MOST:,} bytes"
    return made
