"""Simpler bytes: zero, one, in sequence; field by field inside a block, until one code is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from rosetta_ref.archive import Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant.block import Blocks
from rosetta_ref.reduce.cut import of_values
from rosetta_ref.reduce.given import Given
from rosetta_ref.reduce.search import Search
from rosetta_ref.reduce.tensors import focus

#: Elements of a float tensor that are looked at one by one; and bytes of a tensor whose fields are.
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
    if one.type.decode is not None or one.type.elements == 0:
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
    """Elements to zero, one by one where they are few, else by halves; then to one."""
    one = focus(search)
    if one is None or one.type.encode is None:
        return False
    changed = False
    step = max(one.count // _FEW, 1)
    for value in (0.0, 1.0):
        for start in range(0, one.count, step):
            one = focus(search)
            if one is None:
                return changed
            values = one.values().reshape(-1).astype(np.float32)
            here = slice(start, start + step)
            if np.isin(values[here], (0.0, value)).all():
                continue
            values[here] = value
            with suppress(ValueError, RosettaError):
                changed |= search.first([_with(search.best, one.name, of_values(one, values.reshape(one.shape)))])
    return changed


def _fields(search: Search) -> bool:
    """Each field of the blocks: floats to 0 or 1, codes to 0, or all but one byte of them."""
    one = focus(search)
    changed = False
    for name in one.type.sized(one.count).dtype.names or () if one is not None else ():
        changed |= search.first(_field(search, name)) or _fewest_codes(search, name)
    return changed


def _blocks(tensor: Tensor) -> Blocks:
    return tensor.type.sized(tensor.count).blocks(tensor.data).copy()


def _with_blocks(search: Search, one: Tensor, blocks: Blocks) -> Given:
    return _with(search.best, one.name, replace(one, source=Tensor.of("", one.type, (), blocks.view(np.uint8)).source))


def _field(search: Search, name: str) -> Iterator[Given]:
    one = focus(search)
    assert one is not None
    values = _blocks(one)[name]
    for value in (0, 1) if values.dtype.kind == "f" else (0,):
        if (values != value).any() and not (value == 1 and not values.any()):
            blocks = _blocks(one)
            blocks[name] = value
            yield _with_blocks(search, one, blocks)


def _fewest_codes(search: Search, name: str) -> bool:
    """Half of the codes that are not zero to zero, and half of the rest, as long as it stays."""
    changed = False
    halves = 0
    while (one := focus(search)) is not None and halves < 2:
        values = _blocks(one)[name]
        if values.dtype.kind == "f":
            return changed
        there = np.flatnonzero(values)
        if len(there) < 2:
            return changed
        half = (there[len(there) // 2 :], there[: len(there) // 2])[halves]
        blocks = _blocks(one)
        flat = blocks[name].reshape(-1).copy()
        flat[half] = 0
        blocks[name] = flat.reshape(values.shape)
        if search.first([_with_blocks(search, one, blocks)]):
            changed, halves = True, 0
        else:
            halves += 1
    return changed
