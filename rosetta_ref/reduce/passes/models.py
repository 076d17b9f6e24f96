"""The smallest loadable model, for converters and for bugs that want a whole one: fewest layers, heads, dimensions, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.passes.cut import of_values
from rosetta_ref.reduce.passes.resize import resize
from rosetta_ref.reduce.passes.vocabulary import special_ids, without_words
from rosetta_ref.reduce.search.input import Given
from rosetta_ref.reduce.search.search import Search
from rosetta_ref.reduce.search.sizes import Sizes, model_of, place_of, sizes_of, with_free_heads

#: Heads of q and of k and v, simplest first: what hides a bug of heads (one head, a group for each) is tried before what shows it.
_HEADS = ((1, 1), (2, 1), (2, 2), (4, 1), (3, 1), (4, 2), (6, 3), (6, 2))
#: Elements of a head: 2 and 4 hide some orders.
_HEAD = (2, 4, 6, 8)
#: What may be missing of a model: the rows of roles, all layers together.
_OPTIONAL = ("rope_freqs", "output")


def is_model(search: Search) -> bool:
    """Whether the best input is a whole model of a known architecture."""
    return sizes_of(search.best) is not None


def smaller(search: Search) -> bool:
    """The smallest sizes at once; else layers, words, types, heads, and widths one after the other."""
    changed = search.first(_boldest(search.best, layers=1))
    if _fewer_layers(search):
        changed = True
        search.first(_boldest(search.best))
    changed |= _unworded(search)
    changed |= search.first(_in_floats(search.best))
    for step in (_fewer_heads, _shorter_heads, _narrower, _fewer_tokens):
        changed |= search.first(step(search.best))
    return changed | _fewer_roles(search)


def _sized(given: Given, proposals: Iterable[Sizes]) -> Iterator[Given]:
    old = sizes_of(given)
    for new in proposals:
        if old is not None and new != old and new.fits_in(old):
            with suppress(ValueError, RosettaError):
                yield resize(given, old, new)


def _with_head(given: Given, sizes: Sizes, **changes: int) -> Sizes:
    """With other heads; where no key states their size, the width is that of all heads."""
    new = replace(sizes, **changes)
    return new if with_free_heads(given) else replace(new, width=new.heads * new.head)


def _least_tokens(given: Given) -> int:
    return max(special_ids(given), default=0) + 1


def _boldest(given: Given, layers: int | None = None) -> Iterator[Given]:
    """Next to nothing, without any words, in floats; with as many layers as there are, where none are named."""
    old = sizes_of(given)
    if old is None:
        return
    for bare in (without_words(given), given):
        for heads, groups, head in ((1, 1, 2), (2, 1, 8)):
            new = _with_head(bare, old, heads=heads, groups=groups, head=head)
            new = replace(new, layers=layers or old.layers, inner=1, tokens=max(_least_tokens(bare), 1))
            for sized in _sized(bare, [replace(new, width=min(new.width, heads * head))]):
                yield from _in_floats(sized, always=True)


def _fewer_layers(search: Search) -> bool:
    """One layer, or the fewest, if fewer are never worse than more."""
    sizes = sizes_of(search.best)
    good, changed = search.too_few_layers, False
    while sizes is not None and sizes.layers - good > 1:
        middle = 1 if good == 0 and not changed and sizes.layers > 2 else (good + sizes.layers) // 2
        if search.first(_sized(search.best, [replace(sizes, layers=middle)])):
            changed, sizes = True, sizes_of(search.best)
        else:
            good = search.too_few_layers = middle
    return changed


def _unworded(search: Search) -> bool:
    bare = without_words(search.best)
    gone = len(bare.metadata) < len(search.best.metadata) or len(bare.companions) < len(search.best.companions)
    return gone and search.first([bare])


def _in_floats(given: Given, *, always: bool = False) -> Iterator[Given]:
    """Every block decoded: then dimensions need not be those of blocks. `always` gives the model also where it has none."""
    if all(tensor.type.is_scalar for tensor in given.tensors.values()):
        if always:
            yield given
        return
    if sum(tensor.count for tensor in given.tensors.values()) > 1 << 26:
        return
    yield given.with_tensors(
        lambda tensor: tensor if tensor.type.is_scalar else of_values(tensor, tensor.values(), TYPES["F32"])
    )


def _fewer_heads(given: Given) -> Iterator[Given]:
    old = sizes_of(given)
    if old is not None:
        yield from _sized(given, [_with_head(given, old, heads=h, groups=g) for h, g in _HEADS if h < old.heads])


def _shorter_heads(given: Given) -> Iterator[Given]:
    old = sizes_of(given)
    if old is not None:
        yield from _sized(given, [_with_head(given, old, head=n) for n in _HEAD if n < old.head])


def _narrower(given: Given) -> Iterator[Given]:
    old = sizes_of(given)
    if old is not None:
        widths = (1, 2) if with_free_heads(given) else (old.width,)
        yield from _sized(given, [replace(old, inner=1, width=width) for width in widths])
        yield from _sized(given, [replace(old, inner=inner) for inner in (1, 2)])


def _fewer_tokens(given: Given) -> Iterator[Given]:
    old = sizes_of(given)
    if old is not None:
        least = _least_tokens(given)
        yield from _sized(
            given, [replace(old, tokens=n) for n in (least, 2 * least, 16, 256) if least <= n < old.tokens]
        )


def _fewer_roles(search: Search) -> bool:
    """Without what a model need not have: factors, a head of its own, biases."""
    changed = False
    for role in _OPTIONAL:
        model = model_of(search.best)
        places = {name: place_of(one, model) for name, one in search.best.tensors.items()}
        kept = [name for name, place in places.items() if place is None or place.role != role]
        if len(kept) < len(search.best.tensors):
            changed |= search.first([search.best.only(kept)])
    kept = [name for name in search.best.tensors if not name.endswith(".bias")]
    if len(kept) < len(search.best.tensors):
        changed |= search.first([search.best.only(kept)])
    return changed
