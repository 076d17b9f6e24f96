"""llama.cpp as an engine, through the low-level functions of llama-cpp-python (the extra `llama`); GGUF files only.

The high-level `Llama` class will not do: it leaves the KV cache at F16, which moves logits by 0.03, and cannot switch off
`use_extra_bufts`, with which the library crashes on CPUs that have AMX. Here: F32 cache, no flash attention, one thread unless told
otherwise, so that equal files give equal bits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rosetta_ref.errors import SHOWN, RosettaError
from rosetta_ref.formats.detect import sniff
from rosetta_ref.inference.engine import Closing, EngineFormatError
from rosetta_ref.inference.text import NoTemplateError, library, rendered

INSTALL = "pip install 'rosetta-ref[llama]'"
_GGML_F32 = 0
_FLASH_ATTENTION_OFF = 0
_LONGEST_PIECE = 1 << 10
_LOG_LINES = 200


class LlamaError(RosettaError):
    """llama.cpp loads the file and computes with it."""


@lru_cache(maxsize=1)
def bindings() -> tuple[Any, list[str], Any]:
    """The module of llama.cpp's functions, the last things it said, and the callback that must be kept alive."""
    c = library("llama_cpp.llama_cpp", INSTALL)
    said: list[str] = []

    @c.llama_log_callback  # type: ignore[untyped-decorator]
    def collect(level: int, text: bytes, data: Any) -> None:
        said.append(text.decode("utf-8", "replace"))
        del said[:-_LOG_LINES]

    c.llama_log_set(collect, ctypes.c_void_p(0))
    c.llama_backend_init()
    return c, said, collect


def said(lines: int = 6) -> str:
    """The last things llama.cpp said; what matters stands at the end, so that is what a message must not lose."""
    return "".join(bindings()[1][-lines:]).strip()[-SHOWN // 2 :]


class LlamaCpp(Closing):
    """A GGUF file loaded by llama.cpp."""

    name = "llama.cpp"

    def __init__(self, path: str | Path, *, vocab_only: bool = False, threads: int = 1) -> None:
        self.path = Path(path)
        self._threads = threads
        self._model = self._context = None
        if sniff(self.path) != "gguf":
            raise EngineFormatError("llama.cpp reads GGUF", file=self.path)
        self._c, log, _ = bindings()
        params = self._c.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = False
        params.vocab_only = vocab_only
        log.clear()
        self._model = self._c.llama_model_load_from_file(os.fsencode(self.path), params)
        if not self._model:
            raise LlamaError(f"it does not load: {said()}", file=self.path)
        self._vocab = self._c.llama_model_get_vocab(self._model)
        self.vocabulary = int(self._c.llama_vocab_n_tokens(self._vocab))
        self.has_text = int(self._c.llama_vocab_type(self._vocab)) != 0
        self.has_template = self.has_text and self.metadata("tokenizer.chat_template") is not None

    def close(self) -> None:
        """Free the context and the model."""
        if self._context:
            self._c.llama_free(self._context)
        if self._model:
            self._c.llama_model_free(self._model)
        self._context = self._model = None

    def _fresh_context(self, length: int) -> Any:
        params = self._c.llama_context_default_params()
        params.n_ctx = max(length, 64)
        params.n_batch = params.n_ubatch = params.n_ctx
        params.n_outputs_max = params.n_ctx
        params.n_threads = params.n_threads_batch = self._threads
        params.type_k = params.type_v = _GGML_F32
        params.flash_attn_type = _FLASH_ATTENTION_OFF
        params.offload_kqv = params.op_offload = False
        if self._context:
            self._c.llama_free(self._context)
        self._context = self._c.llama_init_from_model(self._model, params)
        if not self._context:
            raise LlamaError(f"no context: {said()}", file=self.path)
        return self._context

    def logits(self, sequences: Sequence[Sequence[int]]) -> Iterator[NDArray[np.float32]]:
        """For each sequence the logits behind each of its tokens, shape (tokens, vocabulary)."""
        return (self._logits(tokens) for tokens in sequences)

    def _logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        context = self._fresh_context(len(tokens))
        batch = self._c.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i] = token, i
                batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, True
            if self._c.llama_decode(context, batch):
                raise LlamaError(f"decoding failed: {said()}", file=self.path)
            rows = [self._row(i) for i in range(len(tokens))]
        finally:
            self._c.llama_batch_free(batch)
        return np.stack(rows)

    def _row(self, index: int) -> NDArray[np.float32]:
        row = self._c.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(row, (self.vocabulary,)).copy()

    def generate(self, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
        """For each prompt the most likely tokens that follow, up to one that ends the answer."""
        return [self._generate(prompt, count) for prompt in prompts]

    def _generate(self, prompt: Sequence[int], count: int) -> list[int]:
        context = self._fresh_context(len(prompt) + count)
        answer: list[int] = []
        step = list(prompt)
        for _ in range(count):
            array = (self._c.llama_token * len(step))(*step)
            if self._c.llama_decode(context, self._c.llama_batch_get_one(array, len(step))):
                raise LlamaError(f"decoding failed: {said()}", file=self.path)
            token = int(self._row(-1).argmax())
            if self._c.llama_vocab_is_eog(self._vocab, token):
                break
            answer.append(token)
            step = [token]
        return answer

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, with what the tokenizer adds around it; names of control tokens are parsed."""
        return self.encode(text, special=True, add_special=True)

    def tokenize_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, with nothing added."""
        return [self.encode(text, special=True) for text in texts]

    def encode(self, text: str | bytes, *, special: bool = False, add_special: bool = False) -> list[int]:
        """Token ids; `special` parses the names of control tokens, `add_special` adds BOS and EOS."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        buffer = (self._c.llama_token * (len(data) + 16))()
        count = self._c.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), add_special, special)
        if count < 0:
            raise LlamaError(f"{len(data)} bytes need {-count} tokens", file=self.path)
        return list(buffer[:count])

    @property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer, by the file and by llama.cpp's own list of names."""
        return frozenset(i for i in range(self.vocabulary) if self._c.llama_vocab_is_eog(self._vocab, i))

    def spelled(self) -> dict[int, str]:
        """Every token of the vocabulary by its id, as the file spells it."""
        return {
            i: self._c.llama_vocab_get_text(self._vocab, i).decode("utf-8", "surrogateescape")
            for i in range(self.vocabulary)
        }

    def chat(self, question: str) -> list[int]:
        """The ids of a user's question, through the model's own chat template. Raises NoTemplateError."""
        template = self.metadata("tokenizer.chat_template")
        if template is None:
            raise NoTemplateError("the model has none", file=self.path)
        ids = {name: getattr(self._c, f"llama_vocab_{name}")(self._vocab) for name in ("bos", "eos")}
        named = {f"{name}_token": self.text([token]) if token >= 0 else "" for name, token in ids.items()}
        return self.encode(rendered(template, question, named, self.path), special=True)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ids, control tokens by name."""
        return self.pieces(tokens).decode("utf-8", "replace")

    def texts(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence of ids."""
        return [self.text(tokens) for tokens in sequences]

    def pieces(self, tokens: Sequence[int]) -> bytes:
        """The bytes that tokens stand for, control tokens by name."""
        return b"".join(self._piece(token) for token in tokens)

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(_LONGEST_PIECE)
        count = self._c.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, True)
        if count < 0:  # longer than any piece ought to be
            buffer = ctypes.create_string_buffer(-count)
            count = self._c.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, True)
        return buffer.raw[:count]

    def metadata(self, key: str) -> str | None:
        """A metadata value as llama.cpp prints it; None where the key is not there."""
        buffer = ctypes.create_string_buffer(1 << 16)
        count = self._c.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        if count >= len(buffer):
            buffer = ctypes.create_string_buffer(count + 1)
            self._c.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else None
