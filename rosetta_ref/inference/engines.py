"""The engines by name, and the one way to load a model into one. An engine's own package is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.engine import Engine, NumpyEngine


class UnknownEngineError(RosettaError):
    """An engine is one of: numpy, llama.cpp, transformers, mlx-lm."""


def _llama_cpp(path: str | Path) -> Engine:
    from rosetta_ref.inference.llamacpp import LlamaCpp

    return LlamaCpp(path)


def _transformers(path: str | Path) -> Engine:
    from rosetta_ref.inference.huggingface import Transformers

    return Transformers(path)


def _mlx(path: str | Path) -> Engine:
    from rosetta_ref.inference.huggingface import Mlx

    return Mlx(path)


#: Every engine by name.
ENGINES: dict[str, Callable[[str | Path], Engine]] = {
    "numpy": NumpyEngine,
    "llama.cpp": _llama_cpp,
    "transformers": _transformers,
    "mlx-lm": _mlx,
}


def load(path: str | Path, engine: str = "numpy") -> Engine:
    """The model in that file, ready to answer. Raises UnknownEngineError, EngineFormatError, and what the engine raises."""
    if engine not in ENGINES:
        raise UnknownEngineError(f"{engine!r}")
    return ENGINES[engine](path)
