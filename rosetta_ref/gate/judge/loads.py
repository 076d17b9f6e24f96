"""Whether llama.cpp loads a GGUF file, where it is installed: in a child of this process, which it may end.

A child that is forked has the library already, so that a small model takes some ms. Elsewhere nothing is asked.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

#: Exit code of a child that was refused; seconds that it may take.
_REFUSED, _SECONDS = 3, 60
#: What the line of llama.cpp's log begins with that says why.
_WHY = "error loading model"
_NOT_INSTALLED = "llama.cpp (llama-cpp-python) is not installed here, so that it has loaded none of the files"


def is_asked() -> bool:
    """Whether llama.cpp is there to be asked."""
    return hasattr(os, "fork") and importlib.util.find_spec("llama_cpp") is not None


def note() -> str:
    """What a result says where it is not asked; "" where it is."""
    return "" if is_asked() else _NOT_INSTALLED


def refusal(path: Path) -> str | None:
    """Why llama.cpp does not load a file; None where it does, or is not asked."""
    if not is_asked():
        return None
    library = _library()
    with tempfile.TemporaryFile() as log:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which the child needs
            child = os.fork()
        if not child:
            _load(library, path, log.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return None
        log.seek(0)
        said = log.read().decode("utf-8", "replace").splitlines()
    reason = next((line.partition(_WHY)[2].strip(": ") for line in said if _WHY in line), " ".join(said[-1:]))
    return reason or (f"it ended its process with {code}" if code != _REFUSED else "it says no reason")


def _load(library: Any, path: Path, log: int) -> None:
    """In the child: never returns."""
    try:
        for stream in (1, 2):
            os.dup2(log, stream)
        signal.alarm(_SECONDS)
        told = library.llama_log_callback(lambda level, text, data: os.write(log, text) and None)
        library.llama_log_set(told, None)
        parameters = library.llama_model_default_params()
        parameters.n_gpu_layers = 0
        model = library.llama_model_load_from_file(os.fsencode(path), parameters)
        os._exit(0 if model else _REFUSED)
    finally:
        os._exit(1)


@cache
def _library() -> Any:
    found = importlib.import_module("llama_cpp.llama_cpp")
    found.llama_backend_init()
    return found
