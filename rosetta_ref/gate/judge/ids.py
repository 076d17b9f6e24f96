"""Tokenizers by what they do: the ids of some texts, by `tokenizers` for tokenizer.json and by llama.cpp for GGUF.

The steps that cut a text can be spelled in many ways, and llama.cpp has names for some. Ids tell whether two of them are the same.
No text begins with a space, and nothing stands behind a special token: transformers and llama.cpp differ there for SentencePiece.
None changes under NFC, which llama.cpp does not know.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetta_ref import foreign
from rosetta_ref.gate.judge import child, loads
from rosetta_ref.gate.judge.facts import Asked, short
from rosetta_ref.gate.judge.view import View, beside

#: Digits in numbers of each length, spaces inside of and behind a text, contractions, ends of lines, scripts, signs before letters.
TEXTS = (
    "the", "there in the heron", "12", "a12 1 2 123 1234 12345 and 3.14", "x²³ ½ ٣٤ १२३", "!a !in the (her) 'the' \"on\"",
    "in  the   end    ", "a\tb\t\tthe", "one\ntwo\n\nthree\n \n  four\r\nfive", "it's THEY'RE we'll I'd he'S don't 's",
    "snake_case camelCase $the #in @her re-on", "https://example.org/a?b=12&c=!a", "Über naïve Ĝis façade", "Привет, мир",
    "世界 日本語 한국어", "שלום عالم", "नमस्ते ไทย", "🦀🦀 a🦀", "if x:\n    return 12\n\t# the", "...!?;; -- ==> {{}}",
    "ABC def\u00a0ghi",
)  # fmt: skip
#: Special tokens in texts, of a tokenizer that has many.
_SPECIALS = 8


@dataclass(frozen=True)
class Ids:
    """What one side makes of the texts; where nothing is known `why` says why, and `refused` that it is the file's fault."""

    found: list[list[int]] | None
    why: str = ""
    refused: bool = False


def note() -> str:
    """What a result says where a library is not installed; "" where both are."""
    missing = [] if loads.is_asked() else ["llama.cpp (llama-cpp-python)"]
    missing += [] if _has_tokenizers() else ["tokenizers"]
    return f"{' and '.join(missing)} not installed here: tokenizers are compared by their parts" if missing else ""


def judge_ids(source: View, target: View, specials: Sequence[Any]) -> Asked | None:
    """A text with other ids is a finding, and a tokenizer.json that `tokenizers` does not take; None where a side cannot be asked.

    `specials` are the texts of special tokens of the source.
    """
    texts = _with(specials)
    ours, theirs = ids_of(source, texts), ids_of(target, texts)
    if ours is None or theirs is None or ours.found is None:
        return None
    asked = Asked(len(texts), len(texts))
    if theirs.found is None:
        if not theirs.refused:
            return None
        asked.wrong("tokenizer-broken", f"the library tokenizers does not take it: {theirs.why[:200]}")
        return asked
    wrong = [place for place, found in enumerate(ours.found) if found != theirs.found[place]]
    if wrong:
        first = wrong[0]
        was, became = (short(found[first]) for found in (ours.found, theirs.found))
        detail = f"{len(wrong)} of {len(texts)} texts have others, first {texts[first]!r}: {was} became {became}"
        asked.wrong("words-wrong", f"{IDS}: {detail}")
    return asked


#: What a finding about them begins with.
IDS = "ids of texts"


def _with(specials: Sequence[Any]) -> tuple[str, ...]:
    """The texts, and one for each of the first special tokens: behind a word."""
    words = [word for word in specials if isinstance(word, str) and word.strip()]
    return TEXTS + tuple(f"the{word}" for word in words[:_SPECIALS])


def ids_of(view: View, texts: tuple[str, ...]) -> Ids | None:
    """The ids of each text; None for a format that nobody reads tokenizers of, or where the library is not installed.

    An answer is remembered by the bytes of the tokenizer: files of one sample have one.
    """
    if view.format == "gguf":
        return (
            _known(_digest_of_keys(view), texts, lambda: _by_llama_cpp(view.path, texts)) if loads.is_asked() else None
        )
    file = beside(view.path, "tokenizer.json") if view.format == "safetensors" else None
    if file is None or not _has_tokenizers():
        return None
    return _known(hashlib.sha256(foreign.read_file(file)).digest(), texts, lambda: _by_tokenizers(file, texts))


#: Answers by the tokenizer's bytes and the texts, the oldest first.
_REMEMBERED: dict[tuple[bytes, tuple[str, ...]], Ids] = {}
_KEPT = 256


def _known(digest: bytes, texts: tuple[str, ...], asked: Callable[[], Ids]) -> Ids:
    if (digest, texts) not in _REMEMBERED:
        while len(_REMEMBERED) >= _KEPT:
            _REMEMBERED.pop(next(iter(_REMEMBERED)), None)
        _REMEMBERED[digest, texts] = asked()
    return _REMEMBERED[digest, texts]


def _digest_of_keys(view: View) -> bytes:
    """Of what llama.cpp reads a vocabulary from."""
    keys = view.archive.metadata.items()
    read = {key: value.plain() for key, value in keys if key.startswith("tokenizer.") or key == "general.architecture"}
    return hashlib.sha256(repr(read).encode("utf-8", "surrogatepass")).digest()


def _by_llama_cpp(path: Path, texts: tuple[str, ...]) -> Ids:
    found = loads.ids(path, texts)
    return Ids(found) if found is not None else Ids(None, "llama.cpp does not load it")


def _by_tokenizers(file: Path, texts: tuple[str, ...]) -> Ids:
    library = importlib.import_module("tokenizers")
    said = child.ask(lambda: _encoded(library, file, texts))
    if said.code == 0:
        return Ids(json.loads(said.answer))
    lines = said.log.strip().splitlines()
    return Ids(None, " ".join(lines[-1:]) or f"it ended its process with {said.code}", refused=True)


def _encoded(library: Any, path: Path, texts: Sequence[str]) -> bytes:
    """In the child: the ids as JSON."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    made = library.Tokenizer.from_file(str(path))
    made.no_padding()
    made.no_truncation()
    return json.dumps([made.encode(text).ids for text in texts]).encode()


def _has_tokenizers() -> bool:
    return child.can_fork() and importlib.util.find_spec("tokenizers") is not None
