"""llama.cpp as an oracle: the engine of this package, which only passes on what the library says, and its quantiser."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import jinja2.sandbox
import llama_cpp.llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from rosetta_ref.inference.engine import Closing
from rosetta_ref.inference.llamacpp import LlamaCpp, LlamaError, bindings

#: The file types of `llama_model_quantize`, by their names in llama-quantize; llama.h has the numbers.
FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
    "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20,
    "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28,
    "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38, "Q1_0": 40, "Q2_0": 41,
}  # fmt: skip
OVERRIDE_INT, OVERRIDE_TEXT = 0, 3


# One process has one log: whoever sets its callback last has it, so both sides share it.
_, _log, _ = bindings()


def log_tail(lines: int = 6) -> str:
    """The last things llama.cpp said."""
    return "".join(_log)[-400 * lines :]


class Model(Closing):
    """A loaded GGUF file, asked one thing at a time."""

    def __init__(self, path: str | Path, *, vocab_only: bool = False) -> None:
        self.path = Path(path)
        self._engine = LlamaCpp(path, vocab_only=vocab_only)
        self.metadata, self.detokenize, self.tokenize = self._engine.metadata, self._engine.pieces, self._engine.encode
        self.vocab_size = self._engine.vocabulary

    def close(self) -> None:
        """Free the context and the model."""
        self._engine.close()

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Float32 of shape (len(tokens), vocabulary): the logits after each token."""
        return next(self._engine.logits([tokens]))

    def generate(self, tokens: Sequence[int], count: int = 32) -> list[int]:
        """The next `count` tokens at temperature 0, fewer where an end-of-generation token comes first."""
        return self._engine.generate([tokens], count)[0]

    def chat(self, question: str, count: int = 32) -> str:
        """The answer to one question of a user, through the model's own chat template."""
        template = self.metadata("tokenizer.chat_template")
        if template is None:
            raise LlamaError(f"{self.path} has no chat template")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        prompt = environment.from_string(template).render(
            messages=[{"role": "user", "content": question}], add_generation_prompt=True, bos_token="", eos_token=""
        )
        tokens = self.tokenize(prompt, special=True)
        return self.detokenize(self.generate(tokens, count)).decode("utf-8", "replace")


def logits(path: str | Path, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Float32 logits of a file, of shape (len(tokens), vocabulary)."""
    with Model(path) as model:
        return model.logits(tokens)


def quantize(
    source: str | Path,
    target: str | Path,
    file_type: str,
    *,
    pure: bool = False,
    imatrix: Mapping[str, NDArray[np.float32]] | None = None,
    overrides: Mapping[str, str | int] | None = None,
) -> None:
    """Write `source` anew as one of FILE_TYPES; a source that is itself quantised is decoded first.

    `imatrix` has the weights of a matrix by its name, `overrides` the keys that are added.
    """
    params = c.llama_model_quantize_default_params()
    params.ftype = FILE_TYPES[file_type]
    params.allow_requantize = True
    params.nthread = 2
    params.pure = pure
    weights = {name.encode(): np.ascontiguousarray(values, np.float32) for name, values in (imatrix or {}).items()}
    entries = (c.llama_model_imatrix_data * (len(weights) + 1))()
    for entry, (name, values) in zip(entries, weights.items(), strict=False):
        entry.name, entry.size = name, values.size
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if imatrix is not None:
        params.imatrix = entries
    keys = (c.llama_model_kv_override * (len(overrides or {}) + 1))()
    for key, (name, value) in zip(keys, (overrides or {}).items(), strict=False):
        key.key, key.tag = name.encode(), OVERRIDE_TEXT if isinstance(value, str) else OVERRIDE_INT
        if isinstance(value, str):
            key.value.val_str = value.encode()
        else:
            key.value.val_i64 = value
    if overrides is not None:
        params.kv_overrides = keys
    _log.clear()
    if c.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)):
        raise LlamaError(f"{source} -> {file_type}: {log_tail()[-1500:]}")


@contextmanager
def opened(*paths: str | Path) -> Iterator[list[Model]]:
    """Several models at once, all freed at the end."""
    models: list[Model] = []
    try:
        for path in paths:
            models.append(Model(path))  # noqa: PERF401 (those that are open must be freed when the next one fails)
        yield models
    finally:
        for model in models:
            model.close()
