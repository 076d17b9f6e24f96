"""Parts of tokenizer files, taken only as what they have to be; each refusal names the file and the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer.vocabulary import BrokenTokenizerFileError, Json
from rosetta_ref.foreign import ForeignTextError, json_object

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
_ID = re.compile("[0-9]{1,10}")


def from_json(files: Mapping[str, bytes], name: str) -> Json:
    """The content of a JSON file, {} where it is not there; raises BrokenTokenizerFileError where it is not an object.

    Read as transformers reads it, with Python's `json`: NaN and Infinity are numbers, of equal keys the last one counts.
    """
    try:
        return json_object(files[name], file=name, constants=True, twice=True) if name in files else {}
    except ForeignTextError as error:
        raise BrokenTokenizerFileError(error.problem, file=name, offset=error.offset) from error


def table(value: Any, key: str, file: str = TOKENIZER) -> Json:
    """An object; {} where it is null or absent. Raises BrokenTokenizerFileError."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BrokenTokenizerFileError(f"{key} is {shown(value)}, not an object", file=file)
    return value


def array(value: Any, key: str, file: str = TOKENIZER) -> list[Any]:
    """A list; [] where it is null or absent. Raises BrokenTokenizerFileError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BrokenTokenizerFileError(f"{key} is {shown(value)}, not a list", file=file)
    return value


def tables(value: Any, key: str, file: str = TOKENIZER) -> list[Json]:
    """A list of objects; [] where it is null or absent. Raises BrokenTokenizerFileError."""
    for one in array(value, key, file):
        if not isinstance(one, dict):
            raise BrokenTokenizerFileError(f"{key} has {shown(one)}, not an object", file=file)
    return list(value or [])


def text(value: Any, key: str, file: str = TOKENIZER) -> str:
    """A text. Raises BrokenTokenizerFileError."""
    if not isinstance(value, str):
        raise BrokenTokenizerFileError(f"{key} is {shown(value)}, not a text", file=file)
    return value


def steps(value: Any, key: str, inner: str) -> list[Json]:
    """The steps of a normalizer or the like: those under `inner` where there is such a list, else the one itself."""
    whole = table(value, key)
    if inner in whole:
        return tables(whole[inner], f"{key}.{inner}")
    return [whole] if whole else []


def added_tokens(tokenizer: Json) -> list[tuple[str, int, bool]]:
    """Text, id and whether it is special, of the entries of `added_tokens`. Raises BrokenTokenizerFileError."""
    return [_added(entry, entry.get("id"), "added_tokens", TOKENIZER) for entry in _entries(tokenizer)]


def _entries(tokenizer: Json) -> list[Json]:
    return tables(tokenizer.get("added_tokens"), "added_tokens")


def decoder_tokens(config: Json) -> list[tuple[str, int, bool]]:
    """The same of `added_tokens_decoder` in tokenizer_config.json, where ids are keys."""
    key = "added_tokens_decoder"
    found = []
    for number, entry in table(config.get(key), key, CONFIG).items():
        if not _ID.fullmatch(number):
            raise BrokenTokenizerFileError(f"{key} has the id {shown(number)}", file=CONFIG)
        found.append(_added(table(entry, f"{key}.{number}", CONFIG), int(number), key, CONFIG))
    return found


def _added(entry: Json, index: Any, key: str, file: str) -> tuple[str, int, bool]:
    content = text(entry.get("content"), f"{key}.content", file)
    if type(index) is not int:
        raise BrokenTokenizerFileError(f"{key}.id is {shown(index)}, not a whole number", file=file)
    return content, index, bool(entry.get("special"))


def vocabulary_of(model: Json) -> dict[str, int]:
    """`model.vocab`: the id of each token. Raises BrokenTokenizerFileError, also where two tokens share one."""
    if "vocab" not in model:
        raise BrokenTokenizerFileError("there is no model.vocab", file=TOKENIZER)
    vocab = table(model["vocab"], "model.vocab")
    odd = next((token for token, index in vocab.items() if type(index) is not int), None)
    if odd is not None:
        raise BrokenTokenizerFileError(f"model.vocab has {shown(odd)} as {shown(vocab[odd])}", file=TOKENIZER)
    if len(set(vocab.values())) != len(vocab):
        raise BrokenTokenizerFileError("model.vocab has an id twice", file=TOKENIZER)
    return vocab


def merges_of(model: Json) -> list[tuple[str, str]]:
    """`model.merges` as pairs, in either of the two spellings. Raises BrokenTokenizerFileError."""
    found = []
    for pair in array(model.get("merges"), "model.merges"):
        parts = pair.split(" ") if isinstance(pair, str) else pair
        if not isinstance(parts, list) or [type(part) for part in parts] != [str, str]:
            raise BrokenTokenizerFileError(f"a merge is {shown(pair)}", file=TOKENIZER)
        found.append((parts[0], parts[1]))
    return found
