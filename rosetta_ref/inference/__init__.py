"""The answers of a model: a forward pass in NumPy, and llama.cpp, transformers and mlx-lm behind the same interface.

Read `engine` (the interface, and what `load` gives), then the NumPy engine from the ground up: `parameters` (a model's numbers, in
each format's words), `rope`, `model` (weights by what they do), `forward` (the computation), `text` (tokenizer and chat template).
`llamacpp` and `huggingface` are thin adapters to engines that nobody here wrote.

Nothing here uses the converter's names, row orders or configuration: those are what the answers are to judge.
"""

from rosetta_ref.inference.engine import Engine, NumpyEngine
from rosetta_ref.inference.engines import ENGINES, load

__all__ = ["ENGINES", "Engine", "NumpyEngine", "load"]
