"""Words and files taken away: keys of the metadata, files beside the weights, keys in these, shards; what says nothing goes."""

from __future__ import annotations

from functools import partial

from rosetta_ref.reduce.search.input import Given, json_of_companion
from rosetta_ref.reduce.search.search import Search
from rosetta_ref.reduce.search.subsets import without

#: Keys that go together, first of all: a tokenizer, what a file says of itself.
_TOGETHER = ("tokenizer.", "general.", "rosetta.")


def fewer_keys(search: Search) -> bool:
    """Without metadata, without all of a kind, then key by key."""
    if not search.best.metadata:
        return False
    if search.first([search.best.with_metadata({})]):
        return True
    changed = False
    for start in _TOGETHER:
        kept = {key: value for key, value in search.best.metadata.items() if not key.startswith(start)}
        if start == "general." and "general.architecture" in search.best.metadata:
            kept["general.architecture"] = search.best.metadata["general.architecture"]
        if len(kept) < len(search.best.metadata):
            changed |= search.first([search.best.with_metadata(kept)])
    return without(search, list(search.best.metadata), lambda kept: _with_keys(search.best, kept)) or changed


def _with_keys(given: Given, kept: list[str]) -> Given:
    return given.with_metadata({key: given.metadata[key] for key in kept})


def one_file(search: Search) -> bool:
    """One file instead of several."""
    return len(search.best.parts) > 1 and search.first([search.best.in_one()])


def fewer_companions(search: Search) -> bool:
    """Without files beside the weights, then without keys of what is left of them."""
    if not search.best.companions:
        return False
    names = list(search.best.companions)
    changed = without(search, names, lambda kept: _with_files(search.best, kept))
    for name in list(search.best.companions):
        found = json_of_companion(search.best, name)
        if len(found) > 1 and len(found) < 200:
            changed |= without(search, list(found), partial(_with_json, search, name))
    return changed


def _with_files(given: Given, kept: list[str]) -> Given:
    return given.with_companions({name: given.companions[name] for name in kept})


def _with_json(search: Search, name: str, kept: list[str]) -> Given:
    found = json_of_companion(search.best, name)
    return search.best.with_json(name, {key: found[key] for key in kept})
