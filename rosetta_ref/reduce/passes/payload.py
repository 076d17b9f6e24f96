"""Simpler bytes: zero, one, in sequence; field by field inside a block, until one code is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.archive import Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant.block import Blocks
from rosetta_ref.reduce.passes.cut import of_values
from rosetta_ref.reduce.passes.tensors import focus
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.search import Search

Codes = NDArray[Any]
#: Makes an input of other codes, or values, of a tensor.
Put = Callable[[Search, Tensor, Codes], Given]
#: Elements that are looked at one by one; and bytes of a tensor whose fields are.
_FEW = 8
_SMALL = 1 << 16


def simpler(search: Search) -> bool:
    """The others zero, then the tensor that shows the failure as simple as may be."""
    changed = _others_zero(search)
    one = focus(search)
    if one is None or one.nbytes > _SMALL or not one.nbytes:
        return changed
    if search.first(_whole(search.best, one)):
        return True
    return (_numbers(search) if one.type.is_scalar else _fields(search)) or changed


def _with(given: Given, name: str, new: Tensor) -> Given:
    return given.with_tensors(lambda tensor: new if tensor.name == name else tensor)


def _others_zero(search: Search) -> bool:
    one = focus(search)
    name = one.name if one is not None else ""
    others = [tensor for tensor in search.best.tensors.values() if tensor.name != name]
    if all(not tensor.data.any() for tensor in others):
        return False
    return search.first([search.best.with_tensors(lambda tensor: tensor if tensor.name == name else _zero(tensor))])


def _zero(tensor: Tensor) -> Tensor:
    return Tensor.of(tensor.name, tensor.type, tensor.shape, np.zeros(tensor.nbytes, np.uint8))


def _whole(given: Given, one: Tensor) -> Iterator[Given]:
    """All zero, all one, and counted from one: each simpler than what it is now, if it is none of them."""
    simple = [np.zeros(one.shape), np.ones(one.shape), np.arange(1, one.count + 1).reshape(one.shape)]
    if one.type.decode is not None or one.type.is_whole:
        now = one.values()
        if any(np.array_equal(now, values.astype(np.float32)) for values in simple):
            return
    if one.data.any():
        yield _with(given, one.name, _zero(one))
    if one.type.is_scalar:
        for values in simple[1:]:
            with suppress(ValueError, RosettaError):
                yield _with(given, one.name, of_values(one, values))


def _numbers(search: Search) -> bool:
    """As few elements as may be that are not zero, and those one."""
    one = focus(search)
    if one is None or one.type.encode is None:
        return False
    changed = _fewest(search, _values, _with_values)
    return search.first(_ones(search, _values, _with_values)) or changed


def _values(tensor: Tensor) -> Codes:
    return tensor.values().reshape(-1).astype(np.float32)


def _with_values(search: Search, one: Tensor, values: Codes) -> Given:
    return _with(search.best, one.name, of_values(one, values.reshape(one.shape)))


def _fields(search: Search) -> bool:
    """Each field of the blocks: floats to 0 or 1, codes to 0, or all but one of them, and that to 1."""
    one = focus(search)
    changed = False
    for name in one.type.sized(one.count).dtype.names or () if one is not None else ():
        if search.first(_field(search, name)):
            changed = True
        elif one is not None and _blocks(one)[name].dtype.kind != "f":
            get, put = partial(_codes, name=name), partial(_with_field, name=name)
            changed |= _fewest(search, get, put)
            changed |= search.first(_ones(search, get, put))
    return changed


def _blocks(tensor: Tensor) -> Blocks:
    return tensor.type.sized(tensor.count).blocks(tensor.data).copy()


def _codes(tensor: Tensor, *, name: str) -> Codes:
    codes: Codes = _blocks(tensor)[name].reshape(-1).copy()
    return codes


def _with_field(search: Search, one: Tensor, codes: Codes, *, name: str) -> Given:
    blocks = _blocks(one)
    blocks[name] = codes.reshape(blocks[name].shape)
    return _with(search.best, one.name, Tensor.of(one.name, one.type, one.shape, blocks.view(np.uint8)))


def _field(search: Search, name: str) -> Iterator[Given]:
    """A field zero; one, where it is a float."""
    one = focus(search)
    assert one is not None
    values = _blocks(one)[name]
    for value in (0, 1) if values.dtype.kind == "f" else (0,):
        if (values != value).any() and not (value == 1 and not values.any()):
            yield _with_field(search, one, np.full(values.shape, value, values.dtype), name=name)


def _fewest(search: Search, get: Callable[[Tensor], Codes], put: Put) -> bool:
    """Half of the elements that are not zero to zero, and half of the rest, as long as it stays; then each that is left."""
    changed, size = False, 1 << 30
    while (one := focus(search)) is not None:
        there = np.flatnonzero(get(one))
        size = min(size, (len(there) + 1) // 2)
        if len(there) < 2 or not size:
            return changed
        for start in reversed(range(0, len(there), size)):  # what is left should stand at the start
            codes = get(one)
            codes[there[start : start + size]] = 0
            if search.first(_made(put, search, one, codes)):
                changed = True
                break
        else:
            if len(there) > _FEW:
                return changed
            size //= 2
    return changed


def _ones(search: Search, get: Callable[[Tensor], Codes], put: Put) -> Iterator[Given]:
    """Everything that is not zero to one."""
    one = focus(search)
    if one is not None and ((codes := get(one)) > 1).any() | (codes < 0).any():
        codes[codes != 0] = 1
        yield from _made(put, search, one, codes)


def _made(put: Put, search: Search, one: Tensor, codes: Codes) -> Iterator[Given]:
    with suppress(ValueError, RosettaError):
        yield put(search, one, codes)
