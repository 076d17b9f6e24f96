"""What can answer: an engine takes a file and gives logits, tokens and text. One interface, four engines.

engine = load("model.gguf")                  # or load("model", "transformers"), load("model.gguf", "llama.cpp")
(logits,) = engine.logits([engine.tokenize("Two and two are")])
(answer,) = engine.generate([engine.chat("What is 2+2?")], 32)
engine.text(answer)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.forward import Batch, Cache, Pass, Tap
from rosetta_ref.inference.greedy import exact, greedy
from rosetta_ref.inference.model import Model, open_model
from rosetta_ref.inference.text import Text, text_of

Logits = NDArray[Any]


class EngineFormatError(RosettaError):
    """An engine reads the formats that are its own."""


class BadTokenError(RosettaError):
    """A token is an index into the vocabulary, and there is at least one."""


class Engine(Protocol):
    """A loaded model. Tokens are ids; logits are float32 (float64 where asked for), one row a token."""

    name: str
    path: Path
    vocabulary: int

    @property
    def has_text(self) -> bool:
        """Whether there is a tokenizer."""

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template."""

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer, as far as the file names them; empty where the engine does not tell."""

    def logits(self, sequences: Sequence[Sequence[int]]) -> Iterator[Logits]:
        """For each sequence the logits behind each of its tokens, shape (tokens, vocabulary)."""

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
        """For each prompt the most likely tokens that follow, at most `count`, up to one that ends the answer."""

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, with what the tokenizer adds around it."""

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, with nothing added."""

    def spelled(self) -> dict[int, str]:
        """Every token of the vocabulary by its id, as the tokenizer spells it."""

    def chat(self, question: str) -> list[int]:
        """The ids of a user's question, through the model's own chat template."""

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ids, control tokens by name."""

    def texts(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence of ids."""

    def rest(self) -> None:
        """Let go of what can be had again: another model is asked next."""

    def close(self) -> None:
        """Free what the engine holds."""

    def __enter__(self) -> Engine:
        """A context manager that closes the engine."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine."""


class Closing:
    """What every engine is: a context manager that closes it."""

    def rest(self) -> None:
        """Let go of what can be had again; most hold a library's own memory, and nothing of theirs can."""

    def close(self) -> None:
        """Free what the engine holds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NumpyEngine(Closing):
    """The forward pass of this package, on a file of any format. `precise` computes in float64, for judging."""

    name = "numpy"

    def __init__(self, path: str | Path, *, precise: bool = False) -> None:
        self.path = Path(path)
        self.model = open_model(self.path)
        self.dtype: Any = np.float64 if precise else np.float32
        self.vocabulary = self.model.vocabulary

    @cached_property
    def tokenisation(self) -> Text:
        """The tokenizer, made when it is asked for: logits need none."""
        assert self.model.archive is not None
        return text_of(self.model.archive, self.path)

    @property
    def has_text(self) -> bool:
        """Whether there is a tokenizer."""
        return self.tokenisation.exists

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template."""
        return self.tokenisation.exists and self.tokenisation.template is not None

    def close(self) -> None:
        """Give up the file."""
        self.model.close()

    def rest(self) -> None:
        """Let go of the decoded weights; they are decoded again when they are asked for."""
        self.model.forget()

    def logits(self, sequences: Sequence[Sequence[int]], *, tap: Tap | None = None) -> Iterator[Logits]:
        """For each sequence the logits behind each of its tokens; `tap` is told every step. Raises BadTokenError."""
        return logits_of(self.model, sequences, self.dtype, tap)

    def generate(
        self, prompts: Sequence[Sequence[int]], count: int, *, drafts: Sequence[Sequence[int]] | None = None
    ) -> list[list[int]]:
        """For each prompt the most likely tokens that follow, up to one that ends the answer.

        `drafts` are what they may well be; in float64 checking them takes less time than finding them.
        """
        require_tokens(prompts, self.model)
        self.model.meter.require_activations(self.model.parameters, self.vocabulary, prompts)
        stops = self.tokenisation.stops
        with self.model.meter.running():
            if self.dtype is np.float32:
                return greedy(self.model, prompts, [count] * len(prompts), stops)
            return exact(self.model, prompts, count, stops, self.dtype, drafts)

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, with what the tokenizer adds around it."""
        return self.tokenisation.encode(text)

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, with nothing added."""
        return self.tokenisation.encode_all(texts)

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer, as the file names them."""
        return self.tokenisation.stops

    def spelled(self) -> dict[int, str]:
        """Every token of the vocabulary by its id, as the tokenizer spells it."""
        return self.tokenisation.tokens

    def chat(self, question: str) -> list[int]:
        """The ids of a user's question, through the model's own chat template."""
        return self.tokenisation.chat(question)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ids, control tokens by name."""
        return self.tokenisation.decode(tokens)

    def texts(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence of ids."""
        return self.tokenisation.decode_all(sequences)


#: Tokens that go through the layers together: enough that a weight is used often once it is at hand.
_TOGETHER = 2048


def logits_of(
    model: Model, sequences: Sequence[Sequence[int]], dtype: Any = np.float32, tap: Tap | None = None
) -> Iterator[Logits]:
    """The logits of each sequence; some go through the layers together, and each through the head alone.

    Raises AnswerLimitError where they take more time or memory than a model of that size may.
    """
    require_tokens(sequences, model)
    meter = model.meter
    meter.require_activations(model.parameters, model.vocabulary, sequences)
    with meter.running():
        model.load()
    one = Pass(model, dtype) if tap is None else Pass(model, dtype, tap)
    for some in portions(sequences, _TOGETHER):
        with meter.running():
            batch = Batch.of(some, [Cache.of(model) for _ in some])
            hidden = one.forward(batch)
        for span in batch.spans:
            with meter.running():
                logits = one.head(hidden[span])
            yield logits


def portions(sequences: Sequence[Sequence[int]], most: int) -> Iterator[list[Sequence[int]]]:
    """Sequences of at most so many tokens together; one that is longer comes alone."""
    some: list[Sequence[int]] = []
    for sequence in sequences:
        if some and sum(map(len, some)) + len(sequence) > most:
            yield some
            some = []
        some.append(sequence)
    if some:
        yield some


def require_tokens(sequences: Sequence[Sequence[int]], model: Model) -> None:
    """Raise BadTokenError where a sequence is empty, or a token is none of the model's."""
    if not sequences or not all(sequences):
        raise BadTokenError("there is nothing to compute" if not sequences else "a sequence is empty", file=model.path)
    bad = next((token for sequence in sequences for token in sequence if not 0 <= token < model.vocabulary), None)
    if bad is not None:
        raise BadTokenError(f"the token {bad}, and a vocabulary of {model.vocabulary}", file=model.path)
