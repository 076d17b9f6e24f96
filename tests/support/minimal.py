"""What the smallest input of each member of the zoo holds: one tensor of one block, or the least that its bug needs, and why."""

from __future__ import annotations

from dataclasses import dataclass

from rosetta_ref.reduce.passes.cut import grid
from rosetta_ref.reduce.passes.tensors import focus
from rosetta_ref.reduce.search.search import Search
from rosetta_ref.reduce.search.sizes import sizes_of


@dataclass(frozen=True)
class Minimal:
    """Tensors; rows and blocks of the one that shows the bug (elements, of plain numbers); layers of a model, 0 for none; files."""

    tensors: int = 1
    rows: int = 1
    blocks: int = 1
    layers: int = 0
    files: int = 1
    why: str = ""

    @classmethod
    def of(cls, search: Search) -> Minimal:
        """Of what a search ended with."""
        one, sizes = focus(search), sizes_of(search.best)
        rows, blocks = grid(one) if one is not None else (0, 0)
        layers = sizes.layers if sizes is not None else 0
        return cls(len(search.best.tensors), rows, blocks, layers, len(search.best.parts))

    def holds(self, found: Minimal) -> bool:
        """Whether that is no more than this."""
        mine, theirs = vars(self), vars(found)
        return all(theirs[name] <= mine[name] for name in mine if name != "why")


def _model(tensors: int = 11, rows: int = 1, blocks: int = 1, why: str = "a whole model: one layer") -> Minimal:
    return Minimal(tensors, rows, blocks, layers=1, why=why)


_ENCODED = "a row is encoded only where there are two, and whole blocks of it"
#: Members that need more than one tensor of one block.
MORE = {
    "aprq8-labelled-q8_0": Minimal(blocks=64, why="4 + 64 bytes are those of two Q8_0 blocks; one tensor is one block"),
    "q4_0-packs-neighbours": Minimal(rows=2, blocks=32, why=_ENCODED),
    "q4_0-twos-complement": Minimal(rows=2, blocks=32, why=_ENCODED),
    "zero-block-gives-nan-scale": Minimal(rows=2, blocks=256, why=_ENCODED),
    "aprq4-rounds-towards-zero": Minimal(rows=2, blocks=1, why=_ENCODED),
    "first-block-only": Minimal(blocks=2, why="the second block"),
    "bf16-pairs-turned": Minimal(blocks=2, why="a pair"),
    "apr-offsets-unpadded": Minimal(2, why="the second tensor"),
    "index-sorted-data-not": Minimal(2, why="two names in another order than their data"),
    "header-padding-not-counted": Minimal(blocks=4, why="a header that is no multiple of 8 bytes"),
    "stale-shard-wins": Minimal(2, files=2, why="two shards"),
    "first-copy-wins": Minimal(2, files=2, why="two shards"),
    "first-part-only": Minimal(2, files=2, why="two parts"),
    "shape-not-reversed": Minimal(blocks=2, why="no square"),
    "data-transposed-too": Minimal(rows=2, blocks=3, why="no square, two rows and columns"),
    "query-scale-folded-in": _model(rows=2, blocks=2),
    "k-permuted-with-wrong-head-count": _model(rows=4, why="two heads of two pairs of rows"),
    "k-permuted-as-q": _model(rows=4, why="two heads of two pairs of rows"),
    "inverse-permutation-is-forward": _model(rows=6, why="a head of 6: the inverse of 2 and 4 is itself"),
    "permutes-every-architecture": _model(14, rows=4, why="two pairs of rows; qwen2 has biases"),
    "biases-not-permuted": _model(14, blocks=4, why="biases of two pairs of rows"),
    "apr-rope-type-ignored": _model(rows=4, why="two pairs of rows"),
    "norm-plus-one-everywhere": _model(blocks=2),
    "norm-plus-one-forgotten": _model(15, why="gemma3 has four more norms"),
    "norm-plus-one-twice": _model(15, why="gemma3 has four more norms"),
    "embedding-scaled": _model(blocks=2, why="the root of a width of 1 is 1"),
    "tied-head-dropped": _model(),
    "tied-head-invented": _model(),
    "head-taken-for-tied": _model(12, why="a head of its own"),
    "drops-biases": _model(14, blocks=2, why="qwen2 has biases"),
    "gate-and-up-exchanged": _model(),
    "layers-sorted-as-text": Minimal(101, layers=11, why="layer 10 stands before layer 2 from 11 layers on"),
    "tokenizer-dropped": _model(),
    "null-and-alias": _model(),
    "tokenizer-words-only": _model(),
    "numbers-under-two-keys": _model(),
    "rope-theta-forgotten": _model(),
    "kv-heads-are-query-heads": _model(),
    "bos-and-eos-exchanged": _model(),
    "epsilon-is-a-constant": _model(),
    "integers-are-signed": _model(),
    "rope-base-is-whole": _model(),
    "context-is-real": _model(),
    "usual-window-forgotten": _model(15, why="gemma3 has four more norms"),
    "usual-heads-forgotten": _model(14, rows=32, blocks=64, why="32 heads of k and v, and qwen2 has biases"),
    "tie-not-said": _model(),
    "biases-denied": _model(15, why="a bias"),
    "post-processor-removed": _model(),
    "user-tokens-are-special-in-a-directory": _model(),
    "user-tokens-are-control": _model(),
    "control-tokens-are-plain": _model(),
    "unused-tokens-are-plain": _model(),
    "end-of-config-alone": _model(),
}


#: No key of SmolLM2 states the size of a head: the width of a model is that of its heads.
OF_SMOLLM = {
    "inverse-permutation-is-forward": _model(rows=6, blocks=6, why="a head of 6, which is the width"),
    "layers-sorted-as-text": Minimal(101, blocks=2, layers=11, why="11 layers, a width of one head of 2"),
}


def least(member: str, origin: str = "") -> Minimal:
    """What a member needs, of an input made of `origin`."""
    return (OF_SMOLLM if origin == "SmolLM2" else {}).get(member) or MORE.get(member, Minimal())
