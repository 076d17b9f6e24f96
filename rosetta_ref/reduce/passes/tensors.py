"""One tensor, or two, instead of all of them; and of those a block, or as few rows and blocks as the failure needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rosetta_ref.architectures.aprender import GGUF_METADATA
from rosetta_ref.archive import Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.tensors import META
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.passes.cut import grid, of_values, unit, window
from rosetta_ref.reduce.search.failure import fitting
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.search import Search
from rosetta_ref.reduce.search.sizes import model_of

#: Windows that are tried before anything is halved: rows and blocks.
_WINDOWS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3))
#: Of numbers also those that a block is made of, where a type is asked for.
_ENCODED = ((1, 32), (2, 32), (1, 256), (2, 256))
#: Names that are short; some converters round only what is called a weight.
_NAMES = ("a", "a.weight")
#: Payloads with which a window is tried: that of the model, and a simpler one.
_TIMES = 2
#: Elements of a tensor that is tried as it is, and bytes of one that is remembered.
_LARGE = 1 << 20


def focus(search: Search) -> Tensor | None:
    """The smallest tensor of the best input that shows the failure; None where it is about none that is there.

    A failure of the whole output (it cannot be read, there is none) is about the only tensor, where there is but one.
    """
    found = fitting(search.fingerprint, search.seen.findings)
    tensors = search.best.tensors
    if len(tensors) == 1 and all(finding.tensor is None and finding.gate != META for finding in found):
        return next(iter(tensors.values()))
    names = {finding.tensor for finding in found}
    reading = model_of(search.best).name
    held = [tensor for name, tensor in tensors.items() if (mapping.canonical_name(name, reading) or name) in names]
    return min(held, key=lambda tensor: tensor.nbytes, default=None)


def alone(search: Search) -> bool:
    """Leave one tensor, else two that lie side by side; without any word of the metadata, else with all."""
    one = focus(search)
    if one is not None:
        return search.first(_alone(search, one))
    if search.fingerprint.gate == META or len(search.best.tensors) < 2:
        return False
    return search.first(_each_alone(search))


def _each_alone(search: Search) -> Iterator[Given]:
    """One tensor of each kind, where nothing says which one it is; then the first two."""
    best = search.best
    kinds = {(tensor.type.name, len(tensor.shape)): tensor for tensor in reversed(best.tensors.values())}
    for one in sorted(kinds.values(), key=lambda tensor: tensor.type.is_scalar):
        yield from _cuts_alone(search, one)
    first = tuple(best.tensors)[:2]
    yield _pair_cut(search, bare(best.only(first)), first)


def _alone(search: Search, one: Tensor) -> Iterator[Given]:
    best = search.best
    if len(best.tensors) == 1:
        yield from (bare(best).with_tensors(_in_place(one.name, replace(one, name=name))) for name in _names(best))
        return
    yield from _cuts_alone(search, one)
    if one.count <= _LARGE:
        for name in _names(best):
            yield bare(best.only([one.name])).with_tensors(_in_place(one.name, replace(one, name=name)))
    if len(best.parts) > 1:
        yield from _of_two_parts(best, one)
    for pair in _neighbours(best, one):
        chosen = bare(best.only(pair))
        yield _pair_cut(search, chosen, pair)
        if all(tensor.count <= _LARGE for tensor in chosen.tensors.values()):
            yield chosen
    yield best.only([one.name]).with_tensors(_in_place(one.name, _cut(one, 1, 1, search)))


def _cuts_alone(search: Search, one: Tensor) -> Iterator[Given]:
    """A block of it or two, or what a block is made of, bare."""
    chosen = bare(search.best.only([one.name]))
    count, across = grid(one)
    for rows, blocks in (*_WINDOWS[:2], *_encoded(one)):
        if rows <= count and blocks <= across:
            cut = replace(_cut(one, rows, blocks, search), name=_NAMES[0])
            yield chosen.with_tensors(_in_place(one.name, cut))


def _pair_cut(search: Search, chosen: Given, pair: tuple[str, ...]) -> Given:
    return chosen.with_tensors(lambda tensor: _named(_cut(tensor, 1, 1, search), pair))


def _names(best: Given) -> tuple[str, ...]:
    """The last one is as long as half of an alignment of 64: where the data begin may be what matters."""
    return (*_NAMES, "a" * 33) if "general.alignment" in best.metadata else _NAMES


def _encoded(one: Tensor) -> tuple[tuple[int, int], ...]:
    return _ENCODED if unit(one) == 1 else ()


def _named(tensor: Tensor, names: tuple[str, ...]) -> Tensor:
    """By a letter, in the order of the names as they were."""
    return replace(tensor, name="ab"[sorted(names).index(tensor.name)])


def bare(given: Given) -> Given:
    """Without metadata and companions, but what says where the data lie, in GGUF or in what APR carries of it."""
    kept: dict[str, Any] = {
        key: value for key, value in given.metadata.items() if key == "general.alignment" and isinstance(value, Value)
    }
    if isinstance(carried := given.metadata.get(GGUF_METADATA), list):
        alignment = [one for one in carried if isinstance(one, dict) and one.get("key") == "general.alignment"]
        kept |= {GGUF_METADATA: alignment} if alignment else {}
    return given.with_metadata(kept).with_companions({})


def _in_place(name: str, new: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda tensor: new if tensor.name == name else tensor


def _of_two_parts(best: Given, one: Tensor) -> Iterator[Given]:
    """The tensor and one of another file; copies that do not count stay where they are."""
    place = best.index[one.name]
    others = [name for name, where in best.index.items() if where != place]
    holders = [name for name in others if any(one.name in part for part in (best.parts[best.index[name]],))]
    for other in [*holders, *others][:1]:
        chosen = bare(best.only([one.name, other]))
        yield chosen.with_tensors(lambda tensor: window(tensor, range(1), range(1)))
        yield chosen


def _neighbours(best: Given, one: Tensor) -> Iterator[tuple[str, ...]]:
    """The tensor and the one before it, behind it, and the first, by where the data lie; one whose name stands the other way.

    Of those that are named the other way round, one of as many axes, and one of others, which a wrong shape may take.
    """
    names = list(best.tensors)
    place = names.index(one.name)
    pairs = [names[max(place - 1, 0) : place + 1], names[place : place + 2], [names[0], one.name]]
    axes = len(one.shape)
    for same in (True, False):
        alike = [name for name in names if (len(best.tensors[name].shape) == axes) is same and name != one.name]
        turned = [[name, one.name] for name in alike if names.index(name) < place and name > one.name]
        turned += [[one.name, name] for name in alike if names.index(name) > place and name < one.name]
        pairs += turned[:1]
    yield from dict.fromkeys(tuple(pair) for pair in pairs if len(set(pair)) == 2)


def fewest(search: Search) -> bool:
    """Take tensors away, half of them at a time."""
    from rosetta_ref.reduce.search.subsets import without

    names = list(search.best.tensors)
    return without(search, names, lambda kept: search.best.only(kept)) if len(names) > 1 else False


# Rows and blocks


def _cut(tensor: Tensor, rows: int, blocks: int, search: Search) -> Tensor:
    """A window of that size around the first element that is wrong."""
    return window(tensor, *_around(tensor, rows, blocks, search))


def _around(tensor: Tensor, rows: int, blocks: int, search: Search) -> tuple[range, range]:
    """Where the difference is the last row and block of the window, as far as there are any before it."""
    row, block = _place(tensor, search)
    return _span(row, rows, grid(tensor)[0]), _span(block, blocks, grid(tensor)[1])


def _span(at: int, size: int, count: int) -> range:
    start = min(max(at - size + 1, 0), max(count - size, 0))
    return range(start, min(start + size, count))


def _place(tensor: Tensor, search: Search) -> tuple[int, int]:
    """Row and block of the first element that is wrong in it."""
    canonical = mapping.canonical_name(tensor.name, model_of(search.best).name) or tensor.name
    for finding in fitting(search.fingerprint, search.seen.findings):
        index = (finding.first or {}).get("index")
        if finding.tensor == canonical and index and len(index) == len(tensor.shape):
            row = 0
            for place, size in zip(index[:-1], tensor.shape[:-1], strict=True):
                row = row * size + place
            return row, int(index[-1]) // unit(tensor)
    return 0, 0


def smaller(search: Search) -> bool:
    """Cut every tensor to a window; where no small one will do, halve rows and blocks."""
    one = focus(search)
    if one is None:
        return search.first(_all_cut(search))
    changed = search.first(_windows(search, one))
    if changed:
        one = focus(search)
        return one is not None and (smaller(search) or True)
    return _halved(search, 0) | _halved(search, 1)


def _windows(search: Search, one: Tensor) -> Iterator[Given]:
    count, across = grid(one)
    for rows, blocks in (*_WINDOWS, *_encoded(one)):
        if (rows, blocks) == (count, across) or rows > count or blocks > across:
            continue
        if rows * blocks >= count * across or _was_tried(search, one, rows, blocks):
            continue
        cut = _cut(one, rows, blocks, search)
        yield search.best.with_tensors(_in_place(one.name, cut))
    others = [tensor for tensor in search.best.tensors.values() if tensor.name != one.name]
    if any(grid(tensor) != (1, 1) for tensor in others):
        yield search.best.with_tensors(
            lambda tensor: tensor if tensor.name == one.name else window(tensor, range(1), range(1))
        )


def _was_tried(search: Search, one: Tensor, rows: int, blocks: int) -> bool:
    """Whether it was cut to that in vain often enough: with the bytes as they were, and with others."""
    if one.nbytes > _LARGE:
        return False
    tried = search.windows.setdefault((*grid(one), rows, blocks), set())
    if len(tried) < _TIMES:
        tried.add(hash(one.data.tobytes()))
        return False
    return True


def _all_cut(search: Search) -> Iterator[Given]:
    """A block of each, where nothing says which one it is."""
    if any(grid(tensor) != (1, 1) for tensor in search.best.tensors.values()):
        yield search.best.with_tensors(lambda tensor: window(tensor, range(1), range(1)))


def _halved(search: Search, axis: int) -> bool:
    """The smallest number of rows (axis 0) or blocks (1), if fewer are never worse than more."""
    changed = False
    one = focus(search)
    good = 0
    while one is not None and (size := grid(one)[axis]) - good > 1:
        middle = (good + size) // 2
        sizes = [*grid(one)]
        sizes[axis] = middle
        cut = _cut(one, sizes[0], sizes[1], search)
        if _was_tried(search, one, *sizes):
            good = middle
        elif search.first([search.best.with_tensors(_in_place(one.name, cut))]):
            changed = True
            one = focus(search)
        else:
            good = middle
    return changed


def shorter_names(search: Search) -> bool:
    """By letters, in the order that the names are in now; where there are several, for one has its short name already."""
    names = sorted(search.best.tensors)
    letters = {name: "abcdefghijklmnopqrstuvwxyz"[place] for place, name in enumerate(names[:26])}
    if not 1 < len(names) <= len(letters) or all(len(name) == 1 for name in names):
        return False
    return search.first([search.best.with_tensors(lambda tensor: replace(tensor, name=letters[tensor.name]))])


# Types


def simpler_type(search: Search) -> bool:
    """Plain numbers in the place of blocks, or a simpler kind of block, where the failure does not hang on the type."""
    one = focus(search)
    if one is None or one.type.name == "F32" or search.fingerprint.type is not None or one.count > _LARGE:
        return False
    return search.first(_retyped(search, one))


def _retyped(search: Search, one: Tensor) -> Iterator[Given]:
    order = ["F32"] if one.type.is_scalar else ["F32", "F16", "Q8_0", "Q4_0"]
    for name in order:
        if name == one.type.name or (one.type.decode is None and not one.type.is_whole):
            continue
        with suppress(ValueError, RosettaError):
            yield search.best.with_tensors(_in_place(one.name, of_values(one, one.values(), TYPES[name])))
