"""From a malformed file that a converter takes, or dies of, to the smallest one: as few lies as it needs, in as little as that.

The failure stays the same as long as our own reader refuses the file by the same rule, and the converter does the same with it.
What our reader says is asked first, so that a file that would show something else costs no call of the converter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rosetta_ref.archive import Kind
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.gates import SAFE
from rosetta_ref.reduce import envelope as envelopes
from rosetta_ref.reduce.envelope import Envelope, Key
from rosetta_ref.reduce.envelope.parts import SIZE
from rosetta_ref.reduce.envelope.small import block, blocks, boldest, cuts, telling_only
from rosetta_ref.reduce.search.candidate import Oracle, Seen, refusal
from rosetta_ref.reduce.search.failure import Fingerprint
from rosetta_ref.reduce.search.search import Budget, Hunt, tried
from rosetta_ref.reduce.search.subsets import without

#: Tensors and keys that are looked at one by one.
_FEW = 8
_ROUNDS = 4
#: Bytes that are always as many.
_FIXED = ("header.magic", "header.reserved")
#: Bytes of a tensor that say whether it is zero.
_LOOKED_AT = 1 << 16
#: Kind and count of an array in an array.
_OPENED = 12
#: Names that are short, and stay in their order.
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Malformed(Hunt[Envelope]):
    """A search among files that no reader takes. `directory`: a SafeTensors file is given as the only one of a directory."""

    directory: bool = False
    #: Nothing becomes larger than it was.
    largest: int = 1 << 62

    @classmethod
    def of(
        cls,
        oracle: Oracle,
        fingerprint: Fingerprint,
        seen: Seen,
        budget: Budget | None = None,
        *,
        any_failure: bool = False,
    ) -> Malformed:
        """From what `failure_of` says of a file, or of a directory with one file of weights."""
        path = seen.source
        weights = max(path.glob("*.safetensors")) if path.is_dir() else path
        best = envelopes.read(weights, sniff(path))
        most = weights.stat().st_size
        return cls(
            oracle, fingerprint, best, seen, budget or Budget(), any_failure, directory=path.is_dir(), largest=most
        )

    def first(self, candidates: Iterable[Envelope]) -> bool:
        """As for any input; a cut in another place alone is nothing gained."""
        return super().first(each for each in candidates if _but_for_the_cut(each) != _but_for_the_cut(self.best))

    def _counts(self, source: Path) -> bool:
        if self._weights(source).stat().st_size > self.largest:
            return False
        broken = refusal(source)
        return broken is not None and (self.any_failure or type(broken).__name__ == self.fingerprint.subject)

    def _write(self, candidate: Envelope, folder: Path) -> Path:
        place = folder / "input" if self.directory else folder
        place.mkdir(parents=True, exist_ok=True)
        file = place / ("model.safetensors" if self.directory else f"input.{candidate.format}")
        envelopes.write(candidate, file)
        return place if self.directory else file

    def _read(self, source: Path) -> Envelope:
        return envelopes.read(self._weights(source), self.best.format)

    def _weights(self, source: Path) -> Path:
        return source / "model.safetensors" if self.directory else source


def _but_for_the_cut(envelope: Envelope) -> tuple[object, ...]:
    entries = [(entry.name, entry.dims, entry.type, any(entry.data[:_LOOKED_AT])) for entry in envelope.tensors]
    lies = {path: lie for path, lie in envelope.lies.items() if path != SIZE}
    return entries, envelope.metadata, lies, envelope.trailing, envelope.rest


def is_malformed(fingerprint: Fingerprint) -> bool:
    """Whether a failure is about a file that is to be refused, so that `shrink_malformed` is what makes it small."""
    return bool(fingerprint.subject) and fingerprint.gate == SAFE


def shrink_malformed(search: Malformed) -> None:
    """Run the passes until none finds anything more. Raises SpentError when the budget is spent; `search.best` is good then."""
    tried(lambda search: search.first(boldest(search.best)), search)
    for _ in range(_ROUNDS):
        changed = [tried(step, search) for step in _PASSES]
        if not any(changed):
            return


# The passes


def _fewer_lies(search: Malformed) -> bool:
    """Made honest; the last lie stays."""
    best = search.best
    return len(best.lies) > 1 and without(search, list(best.lies), lambda kept: telling_only(best, kept))


def _fewer_tensors(search: Malformed) -> bool:
    """Where a file is accepted, one stays: nobody minds a file of nothing."""
    least = 1 if search.fingerprint.kind == "accepted" else 0
    while len(search.best.tensors) > least:
        count = len(search.best.tensors)
        made = search.first(
            each for kept in _parts(count) if len(kept) >= least for each in cuts(search.best.with_tensors(kept))
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
    changed = search.first(each for plain in (True, False) for each in cuts(blocks(search.best, plain=plain)))
    for number in range(min(len(search.best.tensors), _FEW)):
        changed |= search.first(_smaller(search.best, number))
    return changed


def _smaller(best: Envelope, number: int) -> Iterator[Envelope]:
    if number >= len(best.tensors):
        return
    entry = best.tensors[number]
    for flat in (True, False):
        for plain in (True, False):
            made = block(best.format, entry, plain=plain, flat=flat)
            is_told = any(path.startswith(f"tensor[{number}].dims[") for path in best.lies)
            if made.size < entry.size or (len(made.dims) < len(entry.dims) and not is_told):
                yield from cuts(best.with_entry(number, made))


def _zeros(search: Malformed) -> bool:
    best = search.best
    if not any(any(entry.data[:_LOOKED_AT]) for entry in best.tensors):
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
        for each in cuts(replace(best, tensors=tuple(replace(e, name=names[e.name]) for e in best.tensors), lies=lies))
    )


def _shorter_texts(search: Malformed) -> bool:
    """What is no part of the structure: nothing of it, or half, and half of that."""
    changed = False
    for what in ("trailing", "rest"):
        while getattr(search.best, what):
            held = getattr(search.best, what)
            if not search.first(replace(search.best, **{what: held[:size]}) for size in (0, len(held) // 2)):
                break
            changed = True
    for path, lie in list(search.best.lies.items()):
        while isinstance(lie, bytes) and lie and path not in _FIXED:
            shorter = [lie[:size] for size in dict.fromkeys((0, 1, len(lie) // 2)) if size < len(lie)]
            if not search.first(search.best.telling({**search.best.lies, path: text}) for text in shorter):
                break
            changed, lie = True, search.best.lies.get(path)
    return changed


def _shorter_values(search: Malformed) -> bool:
    """The name and the value of each key that is left: nothing of it, or half, and half of that."""
    changed, number = False, 0
    while number < min(len(search.best.metadata), _FEW):
        best = search.best
        if search.first(each for key in _shorter(best.metadata[number]) for each in cuts(_with_key(best, number, key))):
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
