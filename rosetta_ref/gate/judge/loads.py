"""What llama.cpp makes of a GGUF file, where it is installed: whether it loads it, and the ids of texts.

It is asked in a child of this process, which it may end. Elsewhere nothing is asked.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rosetta_ref.gate.judge import child

#: What the line of llama.cpp's log begins with that says why.
_WHY = "error loading model"
_NOT_INSTALLED = "llama.cpp (llama-cpp-python) is not installed here, so that it has loaded none of the files"
#: Ids that a text may have, at most, for each of its bytes and besides.
_FREE = 16


def is_asked() -> bool:
    """Whether llama.cpp is there to be asked."""
    return child.can_fork() and importlib.util.find_spec("llama_cpp") is not None


def note() -> str:
    """What a result says where it is not asked; "" where it is."""
    return "" if is_asked() else _NOT_INSTALLED


def refusal(path: Path) -> str | None:
    """Why llama.cpp does not load a file; None where it does, or is not asked."""
    if not is_asked():
        return None
    library = _library()
    said = child.ask(lambda: b"loaded" if _model(library, path) else b"")
    if said.answer:
        return None
    lines = said.log.splitlines()
    reason = next((line.partition(_WHY)[2].strip(": ") for line in lines if _WHY in line), " ".join(lines[-1:]))
    return reason or (f"it ended its process with {said.code}" if said.code else "it says no reason")


def ids(path: Path, texts: Sequence[str]) -> list[list[int]] | None:
    """The ids of each text, special tokens in it and around it too; None where llama.cpp is not asked or does not load the file.

    The vocabulary alone is loaded.
    """
    if not is_asked():
        return None
    library = _library()
    said = child.ask(lambda: _tokenized(library, path, texts))
    return json.loads(said.answer) if said.code == 0 else None


def _model(library: Any, path: Path, *, vocabulary: bool = False) -> Any:
    """In the child: the model, or None."""
    told = library.llama_log_callback(lambda level, text, data: os.write(2, text) and None)
    library.llama_log_set(told, None)
    parameters = library.llama_model_default_params()
    parameters.n_gpu_layers, parameters.vocab_only = 0, vocabulary
    return library.llama_model_load_from_file(os.fsencode(path), parameters)


def _tokenized(library: Any, path: Path, texts: Sequence[str]) -> bytes:
    """In the child: the ids as JSON."""
    model = _model(library, path, vocabulary=True)
    if not model:
        raise ValueError("it is not loaded")
    words = library.llama_model_get_vocab(model)
    found = []
    for text in texts:
        data = text.encode()
        room = (ctypes.c_int32 * (len(data) + _FREE))()
        count = library.llama_tokenize(words, data, len(data), room, len(room), True, True)
        found.append([*room[:count]])
    return json.dumps(found).encode()


@cache
def _library() -> Any:
    found = importlib.import_module("llama_cpp.llama_cpp")
    found.llama_backend_init()
    return found
