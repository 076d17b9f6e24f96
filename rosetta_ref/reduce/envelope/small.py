"""Small envelopes of large ones: one block instead of a tensor, one lie instead of all, and a cut that fits what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rosetta_ref.reduce.envelope import table as table_of
from rosetta_ref.reduce.envelope.parts import LARGEST, SIZE, Entry, Envelope, cut, number_of, offsets

#: Lies that are tried each alone; more are taken away by halves.
_FEW = 8


def boldest(best: Envelope) -> Iterator[Envelope]:
    """One lie, or all of one tensor, in a file of one block of numbers, else of the tensor's own type; else all the lies."""
    paths = list(best.lies)
    alone = [[path] for path in paths] if len(paths) <= _FEW else []
    numbers = [found for path in paths if (found := number_of(path)) is not None]
    groups = [*alone, *([path for path in paths if number_of(path) == n] for n in dict.fromkeys(numbers[:_FEW])), paths]
    for group in groups:
        about = [found for path in group if (found := number_of(path)) is not None]
        chosen = sorted(set(about)) or list(best.in_data_order[-1:])
        keys = sorted({found for path in group if (found := number_of(path, "metadata")) is not None})
        small = telling_only(best, group).with_tensors(chosen).with_keys(keys)
        for plain in (True, False):
            yield from cuts(blocks(replace(small, trailing=b""), plain=plain))
        for number in about[-1:]:
            yield from _pair(best, number, keys)
    yield from cuts(blocks(best, plain=False))


def _pair(best: Envelope, number: int, keys: list[int]) -> Iterator[Envelope]:
    """A tensor that lies about its place: as far off as it was; and with the one before it, both in the same place."""
    table, order = table_of(best.format), list(best.in_data_order)
    told = best.lies.get(f"tensor[{number}].{table.PLACE}")
    if told is None:
        return
    honest = best.telling({}).with_keys(keys)
    for both in ([number], sorted({order[order.index(number) - 1], number})):
        small = blocks(honest.with_tensors(both), plain=True)
        this = both.index(number)
        at, size = offsets(small, table.alignment(small))[this], small.tensors[this].size
        start = 0 if len(both) > 1 else at + told - offsets(best, table.alignment(best))[number]
        if lies := table.placed(f"tensor[{this}]", start, size):
            yield small.telling(lies)


def telling_only(envelope: Envelope, kept: Sequence[str]) -> Envelope:
    """With those lies alone."""
    return envelope.telling({path: lie for path, lie in envelope.lies.items() if path in kept})


# One block


def blocks(envelope: Envelope, *, plain: bool) -> Envelope:
    """Each tensor cut to a block, in as many dimensions; without lies about padding, which may be another now."""
    made = replace(envelope, tensors=tuple(block(envelope.format, entry, plain=plain) for entry in envelope.tensors))
    return made.telling({k: v for k, v in made.lies.items() if not k.startswith("padding[") and k != "header.text"})


def block(format: str, entry: Entry, *, plain: bool, flat: bool = False) -> Entry:  # noqa: A002
    """A tensor of one block; `plain`: of floats, which are zero; `flat`: in one dimension."""
    table = table_of(format)
    code = table.PLAIN if plain else entry.type
    dims = [1] * (min(len(entry.dims), 1) if flat else len(entry.dims))
    if dims:
        dims[table.FASTEST] = table.unit(code)
    size = table.size_of(code, dims) or 0
    return replace(entry, type=code, dims=tuple(dims), size=size, data=b"" if plain else bytes(entry.data[:size]))


def cuts(envelope: Envelope) -> Iterator[Envelope]:
    """A file that is cut, by the last byte of its data, by all of the last tensor, by its padding and footer; else as it is."""
    if SIZE not in envelope.lies:
        yield envelope
        return
    table = table_of(envelope.format)
    if sum(entry.size for entry in envelope.tensors) > LARGEST:
        yield envelope
        return
    whole = envelope.telling({path: lie for path, lie in envelope.lies.items() if path != SIZE})
    total = sum(map(len, cut(table.pieces(whole), None)))
    last = [whole.tensors[number] for number in whole.in_data_order[-1:]]
    padding = sum(-entry.size % table.alignment(whole) for entry in last)
    end = total - table.FOOTER - padding - len(whole.trailing)
    begins = end - sum(entry.size for entry in last)
    for size in dict.fromkeys((end - 1, begins, end, total - 1, total - table.FOOTER, envelope.lies[SIZE])):
        if size < total:
            yield envelope.telling({**whole.lies, SIZE: size})
