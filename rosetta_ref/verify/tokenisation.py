"""Tokenisation on both sides, before anything else: a model that reads other tokens is another model.

Prompts reach a few hundred tokens. So every token of the vocabulary is looked at too: its spelling by its id, and what the
tokenizer makes of its text alone, which is the token itself as long as no merge that builds it is lost.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rosetta_ref.inference.engine import Engine
from rosetta_ref.verify.prompts import Prompt
from rosetta_ref.verify.report import Report

#: What stands where the model has a row and the tokenizer no token.
_PLACEHOLDER = re.compile(r"\[PAD\d+\]")


def compare_tokenisation(report: Report, source: Engine, target: Engine, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Note what differs; the source's tokens of each prompt, which both models are then asked."""
    name = source.name
    if source.vocabulary < target.vocabulary and _only_padded(source, target):
        report.note(f"{target.vocabulary - source.vocabulary} unused tokens pad the vocabulary")
    elif source.vocabulary > target.vocabulary and _only_padded(target, source):
        report.note(f"{source.vocabulary - target.vocabulary} unused tokens are left out of the vocabulary")
    elif source.vocabulary != target.vocabulary:
        report.fail("vocabulary", name, f"{source.vocabulary} tokens became {target.vocabulary}")
    if source.has_text != target.has_text:
        report.fail("vocabulary", name, f"the {'converted model' if source.has_text else 'source'} has no tokenizer")
    if source.has_template and not target.has_template and target.has_text:
        report.fail("vocabulary", name, "the chat template is lost")
    if source.has_text and target.has_text:
        _compare_vocabulary(report, source, target)
        _compare_stops(report, source, target)
    sequences = []
    for prompt in prompts:
        ids = prompt.ids(source)
        sequences.append(ids)
        if target.has_text or prompt.tokens:
            _compare_ids(report, name, prompt, ids, prompt.ids(target))
    return sequences


def _compare_ids(report: Report, engine: str, prompt: Prompt, ids: list[int], other: list[int]) -> None:
    report.counts["prompts"] += 1
    report.counts["tokens"] += len(ids)
    if ids != other:
        place = next((i for i, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b), min(len(ids), len(other)))
        here, there = ids[place : place + 4], other[place : place + 4]
        report.fail("tokens", engine, f"prompt {prompt.name!r} from token {place}: {here} became {there}")


def _compare_vocabulary(report: Report, source: Engine, target: Engine) -> None:
    ours, theirs = source.spelled(), target.spelled()
    ids = sorted(ours.keys() | theirs.keys())
    wrong = [i for i in ids if ours.get(i) != theirs.get(i) and not _placeholder(ours.get(i), theirs.get(i))]
    report.counts["spellings"] += len(ids)
    if wrong:
        first = wrong[0]
        shown = f"{ours.get(first)!r} became {theirs.get(first)!r}"
        report.fail(
            "vocabulary", source.name, f"{len(wrong)} of {len(ids)} tokens are spelled otherwise: {first}, {shown}"
        )
    spoken = source.texts([[i] for i in sorted(ours)])
    texts = list(dict.fromkeys(text for text in spoken if text and "\ufffd" not in text))
    encoded = [engine.tokenize_all(texts) for engine in (source, target)]
    report.counts["texts of tokens"] += len(texts)
    odd = [i for i, (a, b) in enumerate(zip(*encoded, strict=True)) if a != b]
    if odd:
        first = odd[0]
        detail = f"{texts[first]!r} is {encoded[0][first]}, became {encoded[1][first]}"
        report.fail(
            "tokens", source.name, f"{len(odd)} of {len(texts)} texts of tokens are tokenized otherwise: {detail}"
        )


def _compare_stops(report: Report, source: Engine, target: Engine) -> None:
    """The tokens that end an answer: GGUF has places for three of them, so one must be left, and the rest is told."""
    ours, theirs = (sorted(engine.stops) for engine in (source, target))
    if ours and not set(ours) & set(theirs):
        report.fail("stops", source.name, f"answers ended at {ours}, and now at {theirs or 'nothing'}")
    elif ours != theirs:
        report.note(f"answers end at {ours} in the source, at {theirs} in the converted model")


def _only_padded(few: Engine, many: Engine) -> bool:
    """Whether the tokens that one side has more are rows without a word: converters pad a vocabulary, or leave padding out."""
    if not (few.has_text and many.has_text):
        return False
    spelled = many.spelled()
    added = (spelled.get(i) for i in range(few.vocabulary, many.vocabulary))
    return all(text is None or _PLACEHOLDER.fullmatch(text) for text in added)


def _placeholder(*spellings: str | None) -> bool:
    """Whether one side has a placeholder where the other has nothing."""
    return None in spellings and any(text is not None and _PLACEHOLDER.fullmatch(text) for text in spellings)
