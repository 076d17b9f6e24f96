"""What the models are asked: a small set of texts that reaches many tokens, or what the user gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rosetta_ref import foreign
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.engine import Engine
from rosetta_ref.limits import LimitExceededError

#: Tokens that one sequence of a long text has at most: within the context of any model.
WINDOW = 512


class NoPromptError(RosettaError):
    """A verdict needs questions: at least one prompt with at least one token."""


@dataclass(frozen=True)
class Prompt:
    """A question; `chat` goes through the model's chat template where it has one. `tokens` are for models without words."""

    name: str
    text: str = ""
    chat: bool = False
    tokens: tuple[int, ...] = ()
    #: Whether an answer is asked for: of a long text only the logits count.
    answered: bool = True

    def ids(self, engine: Engine) -> list[int]:
        """The tokens that this engine makes of it."""
        if self.tokens:
            return list(self.tokens)
        if self.chat and engine.has_template:
            return engine.chat(self.text)
        return engine.tokenize(self.text)


#: Chat, prose, code, numbers, several scripts, and what tokenizers stumble over. The first one is the seed of this project.
DEFAULT = (
    Prompt("arithmetic", "What is 2+2?", chat=True),
    Prompt("chat", "Name three rivers, the countries they flow through, and the seas they end in.", chat=True),
    Prompt(
        "prose",
        "The letters were found in a tin box under the floor of the mill, forty years after they had been written. "
        "Nobody in the village remembered the woman who had signed them, but the miller's daughter knew the house that "
        "they spoke of: it stood at the end of the lane, empty, with a pear tree that still bore fruit every second year. "
        "She read them in one night, by the light of the stove, and in the morning",
    ),
    Prompt(
        "code",
        "def median(values: list[float]) -> float:\n"
        '    """The middle value, or the mean of the two middle ones."""\n'
        "    ordered = sorted(values)\n    half = len(ordered) // 2\n    if len(ordered) % 2:\n        return ordered[half]\n"
        "    return (ordered[half - 1] + ordered[half]) / 2\n\n\ndef mode(values: list[float]) -> float:\n",
    ),
    Prompt(
        "numbers",
        "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765. "
        "3.14159265358979, 2.71828182845905, 1e-35, 0x3F800000, 2026-11-24T17:05:09Z. 12 x 12 =",
    ),
    Prompt(
        "scripts",
        "Здравствуйте, как пройти к вокзалу? 你好，请问火车站怎么走？ こんにちは、駅はどこですか。 안녕하세요. "
        "नमस्ते, स्टेशन कहाँ है? שלום, איפה התחנה? مرحبا، أين المحطة؟ Γειά σας. Où est la gare, s'il vous plaît ? ",
    ),
    Prompt(
        "marks",
        "  Tabs\tand   runs of  spaces,\r\nlines\n\n\nand marks: «quotes», “curly”, it's, don't, WE'LL, naïve, "
        "e\u0301 and é, 🙂🚀, ½ ≠ 0.5?! <tag attr='1'/> {\"key\": [null, true]} #hash @at $5.00 100% a_b-c/d\\e",
    ),
)


def wordless(vocabulary: int) -> tuple[Prompt, ...]:
    """Sequences of token ids for a model that has no words, the same ones every time."""
    random = np.random.default_rng(177)
    return tuple(
        Prompt(f"tokens {length}", tokens=tuple(int(i) for i in random.integers(0, vocabulary, length)))
        for length in (8, 24, 48, 96)
    )


def of_file(path: Path, engine: Engine) -> list[Prompt]:
    """A text in windows of at most WINDOW tokens. Raises NoPromptError for one without tokens, and for one that cannot be read."""
    try:
        text = foreign.text_of(foreign.read_file(path), file=path)
    except (foreign.ForeignTextError, LimitExceededError) as error:
        raise NoPromptError(f"the text: {error.problem}", file=path) from error
    tokens = engine.tokenize(text.replace("\r\n", "\n").replace("\r", "\n"))
    windows = [tokens[i : i + WINDOW] for i in range(0, len(tokens), WINDOW)]
    if not windows:
        raise NoPromptError("the text is empty", file=path)
    return [
        Prompt(f"{path.name} {number}", tokens=tuple(window), answered=False)
        for number, window in enumerate(windows, 1)
    ]


def chosen(engine: Engine, texts: Sequence[str] = (), file: Path | None = None) -> list[Prompt]:
    """The user's prompts, the first of the built-in ones before them; the built-in ones where there are none."""
    if not engine.has_text and (texts or file is not None):
        raise NoPromptError("a model without a tokenizer cannot be asked in words", file=engine.path)
    if not engine.has_text:
        return list(wordless(engine.vocabulary))
    made = [DEFAULT[0], *(Prompt(f"prompt {i}", text, chat=True) for i, text in enumerate(texts, 1))] if texts else []
    made = made or list(DEFAULT)
    return made + (of_file(file, engine) if file is not None else [])
