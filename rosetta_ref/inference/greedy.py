"""Answers: the most likely token, again and again."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from rosetta_ref.inference.forward import Batch, Cache, Pass
from rosetta_ref.inference.model import Model

Prompts = Sequence[Sequence[int]]


#: Drafts of an answer, after which it is computed token by token: where float32 is nowhere right, each is right in one token.
_DRAFTS = 8


def greedy(
    model: Model, prompts: Prompts, counts: Sequence[int], stops: Container[int], dtype: Any = np.float32
) -> list[list[int]]:
    """For each prompt at most so many tokens that follow, up to one that ends the answer."""
    model.load()
    answers: list[list[int]] = [[] for _ in prompts]
    going = {i: Cache.of(model) for i, count in enumerate(counts) if count > 0}
    new = {i: list(prompts[i]) for i in going}
    one = Pass(model, dtype)
    while going:
        batch = Batch.of([new[i] for i in going], list(going.values()))
        logits = one.head(one.forward(batch)[[span.stop - 1 for span in batch.spans]])
        for i, row in zip(list(going), logits, strict=True):
            token = int(np.argmax(row))
            if token not in stops:
                answers[i].append(token)
                new[i] = [token]
            if token in stops or len(answers[i]) == counts[i]:
                del going[i]
    return answers


def exact(
    model: Model,
    prompts: Prompts,
    count: int,
    stops: Container[int],
    dtype: Any,
    drafts: Prompts | None = None,
) -> list[list[int]]:
    """The same in another type. Weights in float64 are slow to go through for each token, so answers are drafted in float32.

    A draft, which may also be what another model said, is checked in one pass. From the first token that is not the best one in
    `dtype` it is drafted anew.
    """
    if drafts is None:
        drafts = greedy(model, prompts, [count] * len(prompts), stops)
    answers = [
        list(takewhile(lambda token: token < model.vocabulary and token not in stops, draft[:count]))
        for draft in drafts
    ]
    unsure = list(range(len(prompts)))
    for turn in range(_DRAFTS + 1):
        if not unsure:
            break
        wrong = []
        asked = [[*prompts[i], *answers[i]] for i in unsure]
        skipped = [len(prompts[i]) - 1 for i in unsure]
        for i, best in zip(unsure, _best(model, asked, skipped, dtype), strict=True):
            right = next((t for t, token in enumerate(answers[i]) if token != best[t]), len(answers[i]))
            answers[i] = answers[i][:right]
            if right < count and best[right] not in stops:
                answers[i].append(best[right])
                wrong.append(i)
        left = [count - len(answers[i]) for i in wrong]
        last = turn == _DRAFTS
        more = greedy(model, [[*prompts[i], *answers[i]] for i in wrong], left, stops, dtype if last else np.float32)
        for i, following in zip(wrong, more, strict=True):
            answers[i] += following
        unsure = [] if last else wrong
    return answers


def _best(model: Model, sequences: Prompts, skipped: Sequence[int], dtype: Any) -> Iterator[list[int]]:
    """The best token behind each token of a sequence, but for the first ones."""
    one = Pass(model, dtype)
    batch = Batch.of(sequences, [Cache.of(model) for _ in sequences])
    hidden = one.forward(batch)
    for span, skip in zip(batch.spans, skipped, strict=True):
        yield one.head(hidden[span][skip:]).argmax(axis=1).tolist()
