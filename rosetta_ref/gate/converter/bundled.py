"""Converters that are known by name: the reference, and other people's where they are installed.

Each is an entry like anybody's. What it claims is what its documents claim; what it does not keep stands in its expectations.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from rosetta_ref.gate.converter.command import Unavailable
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.pairs import PAIRS

#: By path, so that a process of its own imports nothing of this package.
_ADAPTERS = Path(__file__).parents[1] / "adapters"
_EXPECTATIONS = Path(__file__).parents[1] / "expectations"
_FLOATS = ("F32", "F16", "BF16")
_LEGACY = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
_K = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
_IQ = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS")

#: The architectures of the reference, by the files that it knows them by: a new one is claimed, and the gate holds it to that.
_RECORDS = tuple(
    sorted(path.stem for path in (Path(__file__).parents[2] / "architectures" / "models").glob("[!_]*.py"))
)
#: Scripts that copy tensors know no architecture; they claim those that what they get wrong is written down for.
#: Named by a string: the gate shares no code with what it judges, the reference included.
_ENTRIES = (
    Entry("reference", function=f"{_ADAPTERS}/reference.py:convert", pairs=(*PAIRS, "G-G"), lossless=True, whole_models=False,
          architectures=_RECORDS, quantises=("F16", "BF16", *_LEGACY, *_K, "IQ4_NL", "IQ4_XS")),
    Entry("gguf-py", function=f"{_ADAPTERS}/gguf_py.py:convert", pairs=("G-S", "S-G"), safetensors_as="file", whole_models=False,
          types=(*_FLOATS, "F64", "I8", "I16", "I32", "I64", *_LEGACY, *_K, *_IQ, "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"),
          architectures=("llama", "qwen2"), loses=("safetensors/bf16", "sharded"), expectations=_EXPECTATIONS / "gguf-py.yaml"),
    Entry("llama-quantize", function=f"{_ADAPTERS}/llama_quantize.py:convert", isolated=True, pairs=("G-G",), whole_models=True,
          architectures=("llama", "qwen2"), types=(*_FLOATS, *_LEGACY, *_K), quantises=(*_FLOATS, *_LEGACY, *_K),
          expectations=_EXPECTATIONS / "llama-quantize.yaml"),
    Entry("apr", command="apr rosetta convert {src} {dst}", pairs=PAIRS, safetensors_as="file", refuse_exit=(3, 5),
          whole_models=True, architectures=("llama", "qwen2"), environment={"RUST_BACKTRACE": "0"},
          types=(*_FLOATS, *_LEGACY, "Q4_K", "Q5_K", "Q6_K")),
    Entry("mlx", function=f"{_ADAPTERS}/mlx.py:convert", isolated=True, pairs=("G-S", "S-G"), safetensors_as="file",
          whole_models=False, architectures=("llama", "qwen2"), types=(*_FLOATS, "Q4_0", "Q4_1", "Q8_0"),
          refuse_exceptions=("RuntimeError",)),
    Entry("tinygrad", function=f"{_ADAPTERS}/tinygrad.py:convert", isolated=True, pairs=("G-S",), safetensors_as="file",
          whole_models=False, architectures=("llama", "qwen2"), types=(*_FLOATS, "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K")),
    Entry("transformers", function=f"{_ADAPTERS}/transformers.py:convert", isolated=True, pairs=("G-S",), whole_models=True,
          architectures=("llama", "qwen2"), types=(*_FLOATS, *_LEGACY, *_K), time_limit=120,
          environment={"HF_HUB_OFFLINE": "1"}),
)  # fmt: skip
_LIBRARIES = {
    "gguf-py": ("gguf", "safetensors"), "llama-quantize": ("llama_cpp",), "mlx": ("mlx.core",), "tinygrad": ("tinygrad",),
    "transformers": ("transformers", "torch", "gguf", "accelerate"),
}  # fmt: skip
NAMES = tuple(each.name for each in _ENTRIES)


def entry(name: str) -> Entry:
    """The entry of a bundled converter. Raises Unavailable, with the reason, where it is not installed."""
    found = next(each for each in _ENTRIES if each.name == name)
    missing = [library for library in _LIBRARIES.get(name, ()) if not _is_installed(library)]
    if missing:
        raise Unavailable(f"{name}: {' and '.join(missing)} not installed")
    if found.command is not None and shutil.which(program := found.command.split()[0]) is None:
        raise Unavailable(f"{name}: there is no program {program!r} on the PATH")
    return found


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False
