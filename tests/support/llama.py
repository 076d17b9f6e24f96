"""llama.cpp as an oracle, through the low-level functions of llama-cpp-python.

The high-level `Llama` class will not do: it leaves the KV cache at F16, which moves logits by 0.03, and cannot switch
off `use_extra_bufts`, with which the library crashes on CPUs that have AMX. Here: F32 cache, no flash attention, one
thread, so that equal files give equal bits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2.sandbox
import llama_cpp.llama_cpp as c
import numpy as np
from numpy.typing import NDArray

from rosetta_ref.inference.llamacpp import bindings

#: The file types of `llama_model_quantize`, by their names in llama-quantize; llama.h has the numbers.
FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
    "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20,
    "Q2_K_S": 21, "IQ3_XS": 22, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26, "IQ3_M": 27, "IQ2_S": 28,
    "IQ2_M": 29, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4_MOE": 38, "Q1_0": 40, "Q2_0": 41,
}  # fmt: skip
GGML_F32 = 0
FLASH_ATTENTION_OFF = 0
OVERRIDE_INT, OVERRIDE_TEXT = 0, 3


class LlamaError(AssertionError):
    """llama.cpp refused: `log` in the message is what it said."""


# One process has one log: whoever sets its callback last has it, so both sides share it.
_, _log, _ = bindings()


def log_tail(lines: int = 6) -> str:
    """The last things llama.cpp said."""
    return "".join(_log)[-400 * lines :]


class Model:
    """A loaded GGUF file."""

    def __init__(self, path: str | Path, *, vocab_only: bool = False) -> None:
        params = c.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_extra_bufts = False
        params.vocab_only = vocab_only
        self.path = Path(path)
        self._context: Any = None
        _log.clear()
        self._model = c.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise LlamaError(f"llama.cpp does not load {path}: {log_tail()}")
        self._vocab = c.llama_model_get_vocab(self._model)
        self.vocab_size = int(c.llama_vocab_n_tokens(self._vocab))

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the context and the model."""
        if self._context:
            c.llama_free(self._context)
        if self._model:
            c.llama_model_free(self._model)
        self._context = self._model = None

    def _fresh_context(self, length: int) -> Any:
        params = c.llama_context_default_params()
        params.n_ctx = max(length, 64)
        params.n_batch = params.n_ubatch = params.n_ctx
        params.n_outputs_max = params.n_ctx
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = GGML_F32
        params.flash_attn_type = FLASH_ATTENTION_OFF
        params.offload_kqv = params.op_offload = False
        if self._context:
            c.llama_free(self._context)
        self._context = c.llama_init_from_model(self._model, params)
        if not self._context:
            raise LlamaError(f"no context for {self.path}: {log_tail()}")
        return self._context

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Float32 of shape (len(tokens), vocabulary): the logits after each token."""
        context = self._fresh_context(len(tokens))
        batch = c.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i] = token, i
                batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, True
            if c.llama_decode(context, batch):
                raise LlamaError(f"decoding failed on {self.path}: {log_tail()}")
            rows = [self._row(i) for i in range(len(tokens))]
        finally:
            c.llama_batch_free(batch)
        return np.stack(rows)

    def _row(self, index: int) -> NDArray[np.float32]:
        return np.ctypeslib.as_array(c.llama_get_logits_ith(self._context, index), (self.vocab_size,)).copy()

    def generate(self, tokens: Sequence[int], count: int = 32) -> list[int]:
        """The next `count` tokens at temperature 0, fewer where an end-of-generation token comes first."""
        context = self._fresh_context(len(tokens) + count)
        out: list[int] = []
        step = list(tokens)
        for _ in range(count):
            array = (c.llama_token * len(step))(*step)
            if c.llama_decode(context, c.llama_batch_get_one(array, len(step))):
                raise LlamaError(f"decoding failed on {self.path}: {log_tail()}")
            token = int(self._row(-1).argmax())
            if c.llama_vocab_is_eog(self._vocab, token):
                break
            out.append(token)
            step = [token]
        return out

    def tokenize(self, text: str | bytes, *, special: bool = False, add_special: bool = False) -> list[int]:
        """The token ids of a text; `special` parses the names of control tokens, `add_special` adds BOS and EOS."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        buffer = (c.llama_token * (len(data) + 16))()
        n = c.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), add_special, special)
        if n < 0:
            raise LlamaError(f"{len(data)} bytes need {-n} tokens")
        return list(buffer[:n])

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """The bytes that tokens stand for, control tokens by name."""
        return b"".join(self._piece(token) for token in tokens)

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(1024)
        n = c.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, True)
        return buffer.raw[:n]

    def metadata(self, key: str) -> str | None:
        """A metadata value as llama.cpp prints it; None where the key is not there."""
        size = 1 << 16
        buffer = ctypes.create_string_buffer(size)
        n = c.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
        return buffer.value.decode() if n >= 0 else None

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
        raise LlamaError(f"{source} -> {file_type}: {log_tail()}")


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
