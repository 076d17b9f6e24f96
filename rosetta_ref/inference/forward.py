"""The forward pass of llama and its kin, as a specification that runs.

    x = embedding of the tokens [sqrt(width)]
    for each layer:
        y = norm(x);  q, k, v = y Wq + bq, y Wk + bk, y Wv + bv;  [q, k = norm(q), norm(k) in each head];  q, k turned by rope
        y = (softmax(q k / sqrt(head), over the tokens up to now [or the last ones]) v) Wo;  x = x + [norm](y)
        y = norm(x);  y = (act(y Wgate) * (y Wup)) Wdown;  x = x + [norm](y)
    logits = norm(x) Whead [capped]

What stands in brackets is done where the model has the weights for it, or its numbers or its record say so. Read `forward`,
`_attention`, `_feed_forward`. Weights are stored as (out, in), so a linear layer is a product with the transpose. Several sequences
go through together: their tokens are the rows of one matrix, and only attention looks at which rows belong together.

Every step is told to a `Tap`, which may look at it, and may put another value in its place: that is how two models are
walked side by side (`rosetta_ref.verify.blame`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.inference.architecture import EMBEDDING
from rosetta_ref.inference.model import Model
from rosetta_ref.inference.rope import paired, turned

Array = NDArray[Any]
_HEAD_ROWS = 8192
#: Bytes of attention scores of one sequence at a time: they are the square of its tokens, for each head.
_SCORES = 1 << 25
#: Called with the name of a step and its value; what it returns goes on.
Tap = Callable[[str, Array], Array]


@dataclass
class Cache:
    """What attention remembers of one sequence: per layer the turned keys and the values, (tokens, groups, head)."""

    keys: list[Array | None]
    values: list[Array | None]
    length: int = 0

    @classmethod
    def of(cls, model: Model) -> Cache:
        """An empty one."""
        return cls([None] * model.parameters.layers, [None] * model.parameters.layers)

    def extend(self, layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
        """Remember the new tokens' keys and values; those of all tokens up to now."""
        before, old = self.keys[layer], self.values[layer]
        keys = keys if before is None else np.concatenate([before, keys])
        values = values if old is None else np.concatenate([old, values])
        self.keys[layer], self.values[layer] = keys, values
        return keys, values


@dataclass
class Batch:
    """Sequences that go through together; `spans` are the rows of each."""

    tokens: list[int]
    spans: list[slice]
    positions: NDArray[np.int64]
    caches: list[Cache]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], caches: Sequence[Cache]) -> Batch:
        """The new tokens of each sequence, whose positions go on where its cache ends."""
        tokens: list[int] = []
        spans, positions = [], []
        for sequence, cache in zip(sequences, caches, strict=True):
            spans.append(slice(len(tokens), len(tokens) + len(sequence)))
            positions.append(np.arange(cache.length, cache.length + len(sequence)))
            tokens += sequence
        return cls(tokens, spans, np.concatenate(positions), list(caches))


@dataclass
class Pass:
    """One forward pass: the model, how exact, and who listens."""

    model: Model
    dtype: Any = np.float32
    tap: Tap = field(default=lambda name, value: value)

    def forward(self, batch: Batch) -> Array:
        """The hidden states behind the last norm, (tokens, width)."""
        p = self.model.parameters
        x = self.model.weights[EMBEDDING].values()[batch.tokens].astype(self.dtype, copy=False)
        if self.model.record.scaled_embedding:
            x = x * self.dtype(np.float32(math.sqrt(p.width)))  # of float32 in every loader
        x = self.tap("token_embd", x)
        ropes = [self.model.frequencies(sliding=sliding) for sliding in (False, True)]
        for layer in range(p.layers):
            self.model.meter.check()
            rope = ropes[p.window_of(layer) is not None]
            x = self.tap(f"blk.{layer}.attn", x + self._attention(layer, x, batch, rope))
            x = self.tap(f"blk.{layer}.ffn", x + self._feed_forward(layer, x))
        for cache, span in zip(batch.caches, batch.spans, strict=True):
            cache.length += span.stop - span.start
        return self._norm("output_norm", x)

    def head(self, hidden: Array) -> Array:
        """Logits, (tokens, vocabulary). The largest weight of all is widened in parts."""
        weight = self.model.weights[self.model.head].values()
        step = len(weight) if self.dtype is np.float32 else _HEAD_ROWS
        parts = [hidden @ weight[i : i + step].astype(self.dtype, copy=False).T for i in range(0, len(weight), step)]
        made, cap = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1), self.model.parameters.cap
        return self.tap("output", made if cap is None else self.dtype(cap) * np.tanh(made / self.dtype(cap)))

    def _weight(self, role: str) -> Array:
        return self.model.weights[role].values(self.dtype)

    def _norm(self, name: str, x: Array) -> Array:
        return self.tap(name, self._scaled(x) * self._weight(f"{name}.weight"))

    def _norm_if_any(self, name: str, x: Array) -> Array:
        return self._norm(name, x) if f"{name}.weight" in self.model.weights else x

    def _scaled(self, x: Array) -> Array:
        """The last axis divided by its root mean square."""
        made: Array = x / np.sqrt(
            np.mean(np.square(x), axis=-1, keepdims=True) + self.dtype(self.model.parameters.epsilon)
        )
        return made

    def _linear(self, name: str, x: Array) -> Array:
        y = x @ self._weight(f"{name}.weight").T
        bias = f"{name}.bias"
        return y + self._weight(bias) if bias in self.model.weights else y

    def _attention(self, layer: int, x: Array, batch: Batch, rope: tuple[NDArray[np.float64], float]) -> Array:
        p, name = self.model.parameters, f"blk.{layer}"
        y = self._norm(f"{name}.attn_norm", x)
        q = self._heads(f"{name}.attn_q", y)
        k = self._heads(f"{name}.attn_k", y)
        v = self.tap(f"{name}.attn_v", self._linear(f"{name}.attn_v", y)).reshape(len(y), p.groups, p.head)
        q = self.tap(f"{name}.rope_q", turned(q, batch.positions, *rope))
        k = self.tap(f"{name}.rope_k", turned(k, batch.positions, *rope))
        mixed = np.empty((len(y), p.queries), self.dtype)
        for cache, span in zip(batch.caches, batch.spans, strict=True):
            keys, values = cache.extend(layer, k[span], v[span])
            mixed[span] = attend(q[span], keys, values, p.window_of(layer), p.scalar)
        mixed = self.tap(f"{name}.attn_mix", mixed)
        made = self.tap(f"{name}.attn_output", self._linear(f"{name}.attn_output", mixed))
        return self._norm_if_any(f"{name}.post_attention_norm", made)

    def _heads(self, name: str, y: Array) -> Array:
        """The heads of q or k, the first elements of their pairs before the second ones."""
        weight, bias = (self.model.weights.get(f"{name}.{kind}") for kind in ("weight", "bias"))
        assert weight is not None
        size = self.model.parameters.head
        heads = paired((y @ weight.values(self.dtype).T).reshape(len(y), -1, size), weight.pairing)
        if bias is not None:
            heads = heads + paired(bias.values(self.dtype).reshape(-1, size), bias.pairing)
        heads, norm = self.tap(name, heads), self.model.weights.get(f"{name}_norm.weight")
        if norm is None:
            return heads
        return self.tap(f"{name}_norm", self._scaled(heads) * paired(norm.values(self.dtype), norm.pairing))

    def _feed_forward(self, layer: int, x: Array) -> Array:
        name = f"blk.{layer}"
        y = self._norm(f"{name}.ffn_norm", x)
        gate = self.tap(f"{name}.ffn_gate", self._linear(f"{name}.ffn_gate", y))
        up = self.tap(f"{name}.ffn_up", self._linear(f"{name}.ffn_up", y))
        inner = self.tap(f"{name}.ffn_act", ACTIVATIONS[self.model.record.activation](gate) * up)
        made = self.tap(f"{name}.ffn_down", self._linear(f"{name}.ffn_down", inner))
        return self._norm_if_any(f"{name}.post_ffw_norm", made)


def silu(x: Array) -> Array:
    """The sigmoid linear unit, x / (1 + exp(-x))."""
    with np.errstate(over="ignore"):
        made: Array = x / (1 + np.exp(-x))
    return made


def gelu_tanh(x: Array) -> Array:
    """The Gaussian error linear unit by its approximation with a tanh, which is the one that models are trained with."""
    root, cubic = (x.dtype.type(value) for value in (math.sqrt(2 / math.pi), 0.044715))
    made: Array = x / 2 * (1 + np.tanh(root * (x + cubic * x * x * x)))
    return made


#: Activations by the name that a record has for them.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"silu": silu, "gelu_tanh": gelu_tanh}


def attend(q: Array, keys: Array, values: Array, window: int | None = None, scalar: float | None = None) -> Array:
    """Causal attention of the last tokens of a sequence; each group of keys serves heads / groups query heads.

    q: (new tokens, heads, head); keys, values: (all tokens, groups, head). Gives (new tokens, heads x head). A token sees itself
    and the window - 1 tokens before it, or all of them. Scores are divided by the root of `scalar`, or of the size of a head.
    """
    new, heads, size = q.shape
    total, groups, _ = keys.shape
    some = max(1, _SCORES // (heads * total * q.itemsize))
    if new > some:  # a part of the tokens at a time, none of which sees what comes behind the part
        seen = total - new
        parts = [(i, min(i + some, new)) for i in range(0, new, some)]
        return np.concatenate([attend(q[i:j], keys[: seen + j], values[: seen + j], window, scalar) for i, j in parts])
    # (groups, heads of the group x new tokens, head), so that each group is one product of matrices.
    each = q.reshape(new, groups, heads // groups, size).transpose(1, 2, 0, 3).reshape(groups, -1, size)
    scores = each @ keys.transpose(1, 2, 0) / q.dtype.type(math.sqrt(size if scalar is None else scalar))
    scores = scores.reshape(groups, heads // groups, new, total)
    ahead = np.arange(total) - np.arange(total - new, total)[:, None]
    scores[..., ahead > 0 if window is None else (ahead > 0) | (ahead <= -window)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = weights.reshape(groups, -1, total) @ values.transpose(1, 0, 2)
    made: Array = mixed.reshape(groups, heads // groups, new, size).transpose(2, 0, 1, 3).reshape(new, heads * size)
    return made
