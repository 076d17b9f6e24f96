"""transformers and mlx-lm as engines, where they are installed; Hugging Face directories only.

Both read the directory as their users would, but run and fetch nothing for it: no code beside the weights (`auto_map` of
transformers, `model_file` of mlx-lm), no pickled weights, no other model that an adapter is made for. Tokens come from the
directory's own tokenizer.json, as they do in both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.architectures.checked import shown
from rosetta_ref.beside import read_beside
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.engine import Closing, EngineFormatError
from rosetta_ref.inference.keys import parse_json
from rosetta_ref.inference.text import Text, library, text_of_directory

#: Read when the libraries are imported: nothing is fetched.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


class CodeInModelError(RosettaError):
    """A model that is loaded by another library brings no code, and names no other model."""


class ForeignEngineError(RosettaError):
    """transformers or mlx-lm loads the directory and computes with it."""


class _Directory(Closing):
    """What the two have in common: the directory's text, and answers from logits alone."""

    name: str

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path.is_dir() and (self.path / "config.json").is_file()):
            raise EngineFormatError(f"{self.name} reads Hugging Face directories", file=self.path)
        _refuse_code(self.path)
        os.environ.update(_OFFLINE)
        self.tokenisation: Text = text_of_directory(self.path)
        self.has_text = self.tokenisation.exists
        self.has_template = self.tokenisation.exists and self.tokenisation.template is not None
        self.vocabulary = 0

    def close(self) -> None:
        """Free what the engine holds."""

    def _rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        raise NotImplementedError

    def logits(self, sequences: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
        """For each sequence the logits behind each of its tokens, shape (tokens, vocabulary)."""
        return (self._rows(tokens) for tokens in sequences)

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
        """For each prompt the most likely tokens that follow, up to one that ends the answer; the whole is computed each time."""
        answers = []
        for prompt in prompts:
            tokens = list(prompt)
            while len(tokens) - len(prompt) < count:
                token = int(self._rows(tokens)[-1].argmax())
                if token in self.tokenisation.stops:
                    break
                tokens.append(token)
            answers.append(tokens[len(prompt) :])
        return answers

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, with what the tokenizer adds around it."""
        return self.tokenisation.encode(text)

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, with nothing added."""
        return self.tokenisation.encode_all(texts)

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer, as the directory names them."""
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


def _refuse_code(folder: Path) -> None:
    """Raise CodeInModelError where the directory has mlx-lm run a file, or transformers load another model."""
    file = folder / "config.json"
    stated = parse_json(read_beside(file.parent, file.name), file.name, file).get("model_file")
    if stated is not None:
        raise CodeInModelError(f"model_file is {shown(stated)}", file=file)
    if os.path.lexists(folder / "adapter_config.json"):
        raise CodeInModelError("adapter_config.json names another model", file=folder)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What these libraries raise is no end of the list: whatever it is, it is about the directory."""
    try:
        yield
    except Exception as error:
        raise ForeignEngineError(f"{type(error).__name__}: {error}", file=path) from error


class Transformers(_Directory):
    """A directory loaded by transformers, in float32 on the CPU."""

    name = "transformers"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._torch = library("torch", "pip install transformers torch")
        auto = library("transformers", "pip install transformers torch").AutoModelForCausalLM
        with _told(self.path):
            self._model: Any = auto.from_pretrained(
                str(self.path), dtype=self._torch.float32, local_files_only=True, trust_remote_code=False,
                use_safetensors=True,
            )  # fmt: skip
            self._model.eval()
            self.vocabulary = int(self._model.config.vocab_size)

    def _rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        with _told(self.path), self._torch.no_grad():
            made = self._model(self._torch.tensor([list(tokens)])).logits[0]
            return np.asarray(made.float().numpy(), np.float32)

    def close(self) -> None:
        """Let go of the model."""
        self._model = None


class Mlx(_Directory):
    """A directory loaded by mlx-lm, in the type of its weights."""

    name = "mlx-lm"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._mlx = library("mlx.core", "pip install 'rosetta-ref[mlx]'")
        utils = library("mlx_lm.utils", "pip install 'rosetta-ref[mlx]'")
        with _told(self.path):
            self._model: Any = utils.load_model(self.path)[0]
            self._model.set_dtype(self._mlx.float32)
            self.vocabulary = int(self._model.args.vocab_size)

    def _rows(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        with _told(self.path):
            made = self._model(self._mlx.array([list(tokens)]))[0]
            return np.array(made.astype(self._mlx.float32), np.float32)

    def close(self) -> None:
        """Let go of the model."""
        self._model = None
