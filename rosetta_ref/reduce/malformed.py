"""From a malformed file that a converter takes, or dies of, to the smallest one: as few lies as it needs, in as little as they need.

The failure stays the same as long as our own reader refuses the file by the same rule, and the converter does the same with it.
What our reader says is asked first, so that a file that would show something else costs no call of the converter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rosetta_ref.archive import Kind
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.cases import SAFE
from rosetta_ref.reduce import envelope as envelopes
from rosetta_ref.reduce.envelope import FORMATS, Entry, Envelope
from rosetta_ref.reduce.envelope.parts import LARGEST, SIZE, Key, cut, number_of, offsets
from rosetta_ref.reduce.fingerprint import Fingerprint
from rosetta_ref.reduce.oracle import Oracle, Seen, refusal
from rosetta_ref.reduce.search import Budget, Hunt
from rosetta_ref.reduce.subsets import without

#: Lies that are tried each alone; more are taken away by halves.
_FEW = 8
_ROUNDS = 4
#: Bytes that are always as many.
_FIXED = ("header.magic", "header.reserved")
#: Kind and count of an array in an array.
_OPENED = 12
#: Names that are short, and stay in their order.
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Malformed(Hunt[Envelope]):
    """A search among files that no reader takes. `directory`: a SafeTensors file is given as the only one of a directory."""

    directory: bool = False

    @classmethod
    def of(
        cls, oracle: Oracle, fingerprint: Fingerprint, seen: Seen, budget: Budget | None = None, *, any_failure: bool = False
    ) -> Malformed:
        """From what `failure_of` says of a file, or of a directory with one file of weights."""
        path = seen.source
        weights = max(path.glob("*.safetensors")) if path.is_dir() else path
        best = envelopes.read(weights, sniff(path))
        return cls(oracle, fingerprint, best, seen, budget or Budget(), any_failure, directory=path.is_dir())

    def _counts(self, source: Path) -> bool:
        broken = refusal(source)
        return broken is not None and (self.any_failure or type(broken).__name__ == self.fingerprint.subject)

    def _write(self, candidate: Envelope, folder: Path) -> Path:
        place = folder / "input" if self.directory else folder
        place.mkdir(parents=True, exist_ok=True)
        file = place / ("model.safetensors" if self.directory else f"input.{candidate.format}")
        envelopes.write(candidate, file)
        return place if self.directory else file

    def _read(self, source: Path) -> Envelope:
        return envelopes.read(source / "model.safetensors" if self.directory else source, self.best.format)


def is_malformed(fingerprint: Fingerprint) -> bool:
    """Whether a failure is about a file that is to be refused, so that `shrink_malformed` is what makes it small."""
    return bool(fingerprint.subject) and fingerprint.gate == SAFE


def shrink_malformed(search: Malformed) -> None:
    """Run the passes until none finds anything more. Raises SpentError when the budget is spent; `search.best` is good then, too."""
    search.first(_boldest(search.best))
    for _ in range(_ROUNDS):
        if not any([step(search) for step in _PASSES]):
            return


def _boldest(best: Envelope) -> Iterator[Envelope]:
    """One lie, or all of one tensor, in a file of one block of numbers, else of the tensor's own type; else all the lies."""
    paths = list(best.lies)
    alone = [[path] for path in paths] if len(paths) <= _FEW else []
    numbers = [found for path in paths if (found := number_of(path)) is not None]
    groups = [*alone, *([path for path in paths if number_of(path) == n] for n in dict.fromkeys(numbers[:_FEW])), paths]
    for group in groups:
        about = [found for path in group if (found := number_of(path)) is not None]
        chosen = sorted(set(about)) or list(best.in_data_order[-1:])
        keys = sorted({found for path in group if (found := number_of(path, "metadata")) is not None})
        small = _without_lies(best, group).with_tensors(chosen).with_keys(keys)
        for plain in (True, False):
            yield from _cuts(_blocks(replace(small, trailing=b""), plain=plain))
        for number in about[-1:]:
            yield from _pair(best, number, keys)
    yield from _cuts(_blocks(best, plain=False))


def _pair(best: Envelope, number: int, keys: list[int]) -> Iterator[Envelope]:
    """A tensor that lies about its place: as far off as it was; and with the one before it, both in the same place."""
    table, order = FORMATS[best.format], list(best.in_data_order)
    path = "data_offsets[0]" if best.format == "safetensors" else "offset"
    told = best.lies.get(f"tensor[{number}].{path}")
    if told is None:
        return
    honest = best.telling({}).with_keys(keys)
    for both in ([number], sorted({order[order.index(number) - 1], number})):
        small = _blocks(honest.with_tensors(both), plain=True)
        this = both.index(number)
        at, size = offsets(small, table.alignment(small))[this], small.tensors[this].size
        start = 0 if len(both) > 1 else at + told - offsets(best, table.alignment(best))[number]
        if best.format == "safetensors":
            yield small.telling({f"tensor[{this}].{path}": start, f"tensor[{this}].data_offsets[1]": start + size})
        elif start >= 0:
            yield small.telling({f"tensor[{this}].{path}": start})


def _without_lies(envelope: Envelope, kept: Sequence[str]) -> Envelope:
    return envelope.telling({path: lie for path, lie in envelope.lies.items() if path in kept})


# One block


def _blocks(envelope: Envelope, *, plain: bool) -> Envelope:
    """Each tensor cut to a block, in as many dimensions; without lies about padding, which may be another now."""
    made = replace(envelope, tensors=tuple(_block(envelope.format, entry, plain=plain) for entry in envelope.tensors))
    return made.telling({k: v for k, v in made.lies.items() if not k.startswith("padding[") and k != "header.text"})


def _block(format: str, entry: Entry, *, plain: bool, flat: bool = False) -> Entry:  # noqa: A002
    """A tensor of one block; `plain`: of floats, which are zero; `flat`: in one dimension."""
    table = FORMATS[format]
    code = table.PLAIN if plain else entry.type
    dims = [1] * (min(len(entry.dims), 1) if flat else len(entry.dims))
    if dims:
        dims[table.FASTEST] = table.unit(code)
    size = table.size_of(code, dims) or 0
    return replace(entry, type=code, dims=tuple(dims), size=size, data=b"" if plain else bytes(entry.data[:size]))


def _cuts(envelope: Envelope) -> Iterator[Envelope]:
    """A file that is cut, by the last byte of its data, of its padding and footer; one that is not, as it is."""
    if SIZE not in envelope.lies:
        yield envelope
        return
    table = FORMATS[envelope.format]
    if sum(entry.size for entry in envelope.tensors) > LARGEST:
        yield envelope
        return
    whole = envelope.telling({path: lie for path, lie in envelope.lies.items() if path != SIZE})
    total = sum(map(len, cut(table.pieces(whole), None)))
    last = [whole.tensors[number] for number in whole.in_data_order[-1:]]
    padding = sum(-entry.size % table.alignment(whole) for entry in last)
    end = total - table.FOOTER - padding - len(whole.trailing)
    for size in dict.fromkeys((end - 1, end, total - 1, total - table.FOOTER, envelope.lies[SIZE])):
        if size < total:
            yield envelope.telling({**whole.lies, SIZE: size})


# The passes


def _fewer_lies(search: Malformed) -> bool:
    """Made honest; the last lie stays."""
    best = search.best
    return len(best.lies) > 1 and without(search, list(best.lies), lambda kept: _without_lies(best, kept))


def _fewer_tensors(search: Malformed) -> bool:
    """Where a file is accepted, one stays: nobody minds a file of nothing."""
    least = 1 if search.fingerprint.kind == "accepted" else 0
    while len(search.best.tensors) > least:
        count = len(search.best.tensors)
        made = search.first(
            each for kept in _parts(count) if len(kept) >= least for each in _cuts(search.best.with_tensors(kept))
        )
        if not made:
            return count < len(search.best.tensors)
    return False


def _parts(count: int) -> Iterator[list[int]]:
    """Without all, without halves, quarters and so on."""
    size = count
    while size:
        for start in range(0, count, size):
            yield [*range(start), *range(start + size, count)]
        size //= 2


def _fewer_keys(search: Malformed) -> bool:
    best = search.best  # the numbers are of this one
    return without(search, range(len(best.metadata)), best.with_keys)


def _smaller_tensors(search: Malformed) -> bool:
    """All of one block, else one after the other; then in one dimension."""
    changed = search.first(each for plain in (True, False) for each in _cuts(_blocks(search.best, plain=plain)))
    for number in range(min(len(search.best.tensors), _FEW)):
        changed |= search.first(_smaller(search.best, number))
    return changed


def _smaller(best: Envelope, number: int) -> Iterator[Envelope]:
    if number >= len(best.tensors):
        return
    entry = best.tensors[number]
    for flat in (True, False):
        for plain in (True, False):
            made = _block(best.format, entry, plain=plain, flat=flat)
            is_told = any(path.startswith(f"tensor[{number}].dims[") for path in best.lies)
            if made.size < entry.size or (len(made.dims) < len(entry.dims) and not is_told):
                yield from _cuts(best.with_entry(number, made))


def _zeros(search: Malformed) -> bool:
    best = search.best
    if not any(any(entry.data[: 1 << 16]) for entry in best.tensors):
        return False
    return search.first([replace(best, tensors=tuple(replace(entry, data=b"") for entry in best.tensors))])


def _shorter_names(search: Malformed) -> bool:
    """By letters, in the order of the names as they were, or by their own first ones."""
    best = search.best
    ranks = {name: rank for rank, name in enumerate(sorted({entry.name for entry in best.tensors}))}
    if not ranks or len(ranks) > len(_LETTERS) or all(len(name) <= 1 for name in ranks):
        return False
    lies = {path: lie for path, lie in best.lies.items() if path != "header.text"}
    letters = {name: _LETTERS[rank].encode() for name, rank in ranks.items()}
    return search.first(
        each
        for names in (letters, {name: name[:1] for name in ranks})
        for each in _cuts(
            replace(best, tensors=tuple(replace(e, name=names[e.name]) for e in best.tensors), lies=lies)
        )
    )


def _shorter_texts(search: Malformed) -> bool:
    """What is no part of the structure: nothing of it, or half, and half of that."""
    changed = False
    for what in ("trailing", "rest"):
        while getattr(search.best, what):
            held = getattr(search.best, what)
            if not search.first(replace(search.best, **{what: held[:size]}) for size in (0, len(held) // 2)):  # type: ignore[arg-type]
                break
            changed = True
    for path, lie in list(search.best.lies.items()):
        while isinstance(lie, bytes) and lie and path not in _FIXED:
            shorter = [lie[:size] for size in dict.fromkeys((0, 1, len(lie) // 2)) if size < len(lie)]
            if not search.first(search.best.telling({**search.best.lies, path: text}) for text in shorter):
                break
            changed, lie = True, search.best.lies.get(path)  # noqa: PLW2901 - the lie as it is now
    return changed


def _shorter_values(search: Malformed) -> bool:
    """The name and the value of each key that is left: nothing of it, or half, and half of that."""
    changed, number = False, 0
    while number < min(len(search.best.metadata), _FEW):
        best = search.best
        if search.first(each for key in _shorter(best.metadata[number]) for each in _cuts(_with_key(best, number, key))):
            changed = True
        else:
            number += 1
    return changed


def _shorter(key: Key) -> Iterator[Key]:
    size, count = len(key.value), key.count
    if len(key.name) > 1 and not key.name.startswith(b'"'):
        yield replace(key, name=b"a")
    if key.kind == Kind.STRING:
        yield from (replace(key, value=key.value[:length]) for length in (0, size // 2) if length < size)
    elif key.kind == Kind.ARRAY and key.item == Kind.ARRAY and size > 2 * _OPENED:
        yield replace(key, value=key.value[size // _OPENED // 2 * _OPENED :])  # half of those that are nested
    elif key.kind == Kind.ARRAY and count:
        yield replace(key, value=b"", count=0)
        if key.item != Kind.STRING and count > 1:
            yield replace(key, value=key.value[: size // count * (count // 2)], count=count // 2)


def _with_key(best: Envelope, number: int, key: Key) -> Envelope:
    return replace(best, metadata=(*best.metadata[:number], key, *best.metadata[number + 1 :]))


def _nearer_counts(search: Malformed) -> bool:
    """One more than there are; of what is counted, none is there, or as many as are."""
    changed = False
    for path in ("header.metadata_count", "header.tensor_count"):
        best = search.best
        if path in best.lies:
            bare = best.with_keys([]) if path == "header.metadata_count" else best
            made = [each.telling({**each.lies, path: len(_counted(each, path)) + 1}) for each in (bare, best)]
            changed |= search.first(each for each in made if each.lies[path] < best.lies[path])
    return changed


def _counted(envelope: Envelope, path: str) -> Sequence[object]:
    return envelope.metadata if path == "header.metadata_count" else envelope.tensors


_PASSES: tuple[Callable[[Malformed], bool], ...] = (
    _fewer_lies, _fewer_tensors, _smaller_tensors, _fewer_keys, _zeros, _shorter_names, _shorter_texts, _shorter_values,
    _nearer_counts,
)  # fmt: skip
