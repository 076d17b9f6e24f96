"""What foreign code says of a conversion: gguf-py, safetensors, NumPy, ggml by ctypes, llama.cpp, and transformers.

    python converters/foreign.py SRC DST [--transformers PYTHON]

prints what was looked at with what, and what it said; nothing of rosetta_ref is imported. PYTHON is an interpreter with torch and
transformers: without one, directories are not loaded. The lines begin with a mark:

    =  the same         ~  exact after a rounding or encoding that is named         !  a difference         .  a fact, not judged

Tensors of a GGUF file and of a Hugging Face directory are matched by gguf-py's name tables. Two things are done here, both after
llama.cpp's conversion/llama.py and conversion/gemma.py: the order of the rows of q and k, and the 1 that Gemma's norms are without.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

#: How many tensors that differ are shown.
SHOWN = 6
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1"}
#: config.json's word, and gguf-py's suffix of the key after the architecture.
_NUMBERS = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
    "vocab_size": "vocab_size",
}
_ENDS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}


@dataclass(frozen=True)
class Weight:
    """A tensor: its type, sizes with the longest step first, bytes, and values where the type can be decoded."""

    kind: str
    shape: tuple[int, ...]
    data: bytes
    values: np.ndarray[Any, Any] | None


class Ggml:
    """ggml's own decoders and encoders, out of llama-cpp-python's library."""

    def __init__(self) -> None:
        import llama_cpp

        folder = Path(llama_cpp.__file__).parent / "lib"
        self.base = ctypes.CDLL(str(next(folder.glob("libggml-base.so"))))
        self.base.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
        self.base.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.base.ggml_quantize_chunk.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            *[ctypes.c_int64] * 3,
            ctypes.c_void_p,
        ]

    def decode(self, data: bytes, kind: gguf.GGMLQuantizationType, count: int) -> np.ndarray[Any, Any]:
        """Values of blocks."""
        made = np.empty(count, np.float32)
        self.base.ggml_get_type_traits(int(kind)).contents.to_float(data, made.ctypes.data, count)
        return made

    def encode(self, values: np.ndarray[Any, Any], kind: gguf.GGMLQuantizationType) -> bytes:
        """Blocks of a matrix, as llama-quantize makes them without an importance matrix; all ones where it insists on one."""
        rows, width = values.reshape(-1, values.shape[-1]).shape
        block, size = gguf.GGML_QUANT_SIZES[kind]
        made = np.empty(rows * width // block * size, np.uint8)
        source, weights = np.ascontiguousarray(values, np.float32), np.ones(width, np.float32)
        self.base.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
        ones = weights.ctypes.data if self.base.ggml_quantize_requires_imatrix(int(kind)) else None
        self.base.ggml_quantize_chunk(int(kind), source.ctypes.data, made.ctypes.data, 0, rows, width, ones)
        return made.tobytes()


class _Traits(ctypes.Structure):
    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


GGML = Ggml()


def plain(data: bytes, kind: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
    """Values of a type that is no block."""
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(data, _FLOATS[kind]).reshape(shape) if kind in _FLOATS else None


def gguf_weights(path: Path) -> tuple[dict[str, Weight], dict[str, Any], list[str]]:
    """Tensors and metadata as gguf-py reads them, all parts of a split model; and what its decoder and ggml's disagree about."""
    weights, said = {}, []
    parts = sorted(path.parent.glob(path.name.replace("-00001-of-", "-*-of-"))) if "-00001-of-" in path.name else [path]
    for part in parts:
        for tensor in gguf.GGUFReader(part).tensors:
            shape, kind, data = tuple(int(n) for n in reversed(tensor.shape)), tensor.tensor_type, tensor.data.tobytes()
            values = plain(data, kind.name, shape)
            if values is None:
                values = GGML.decode(data, kind, int(np.prod(shape))).reshape(shape)
                said += _decoders_differ(tensor, values)
            weights[tensor.name] = Weight(kind.name, shape, data, values)
    fields = {name: (one.types[0].name, one.contents()) for name, one in gguf.GGUFReader(parts[0]).fields.items()}
    return weights, fields, said


def _decoders_differ(tensor: Any, values: np.ndarray[Any, Any]) -> list[str]:
    try:
        theirs = gguf.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        return []
    same = np.array_equal(theirs.reshape(values.shape), values, equal_nan=True)
    return [] if same else [f". {tensor.name}: gguf-py and ggml decode it differently"]


def safetensors_weights(path: Path) -> dict[str, Weight]:
    """Tensors of a file or of the files of a directory, as the safetensors package reads them."""
    import safetensors

    weights = {}
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else [path]:
        for name, one in safetensors.deserialize(file.read_bytes()):
            data, shape = bytes(one["data"]), tuple(one["shape"])
            weights[name] = Weight(one["dtype"], shape, data, plain(data, one["dtype"], shape))
    return weights


def as_gguf(weights: dict[str, Weight], config: dict[str, Any], architecture: str) -> dict[str, Weight]:
    """Hugging Face's tensors under GGUF's names, rows and norms."""
    number = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    table = gguf.get_tensor_name_map(number, int(config.get("num_hidden_layers", 1)))
    made = {}
    for name, weight in weights.items():
        new = table.get_name(name, try_suffixes=(".weight", ".bias")) or name
        values = weight.values
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(
            new.split(".")[-2] if "." in new else ""
        )
        if architecture == "llama" and heads and values is not None:
            count = int(config.get(heads) or config["num_attention_heads"])
            values = values.reshape(count, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        if architecture.startswith("gemma") and new.endswith("norm.weight") and values is not None:
            values = values.astype(np.float32) + np.float32(1)
        made[new] = Weight(weight.kind, weight.shape, weight.data if values is weight.values else b"", values)
    return made


def bf16(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rounded to BF16, to the nearest and then to even, as values of F32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)


def relation(one: Weight, other: Weight) -> tuple[str, str]:
    """A mark, and how the values of two tensors are related."""
    if one.shape != other.shape:
        return "!", f"shape {one.shape} became {other.shape}"
    kinds = f"{one.kind} -> {other.kind}"
    if one.kind == other.kind and one.data == other.data and one.data:
        return "=", f"{kinds}: the same bytes"
    if one.values is None or other.values is None:
        return ".", f"{kinds}: not decoded"
    if np.array_equal(one.values, other.values, equal_nan=True):
        return "=", f"{kinds}: the same values"
    with np.errstate(all="ignore"):
        roundings = {
            "astype(float32)": one.values.astype(np.float32),
            "astype(float16)": one.values.astype(np.float16),
            "rounded to bfloat16": bf16(one.values),
        }
        roundings["astype(float16), then bfloat16"] = bf16(one.values.astype(np.float16))
        roundings["bfloat16, then astype(float16)"] = bf16(one.values).astype(np.float16)
    for word, rounded in roundings.items():
        if np.array_equal(rounded.astype(np.float32), other.values.astype(np.float32), equal_nan=True):
            return "~", f"{kinds}: {word}"
    return _encoded(one, other, kinds)


def _encoded(one: Weight, other: Weight, kinds: str) -> tuple[str, str]:
    assert one.values is not None
    assert other.values is not None
    kind = gguf.GGMLQuantizationType.__members__.get(other.kind)
    with np.errstate(all="ignore"):
        gaps = np.abs(one.values.astype(np.float64) - other.values.astype(np.float64))
    differ = ~((one.values == other.values) | (np.isnan(one.values) & np.isnan(other.values)))
    index = tuple(int(n) for n in np.argwhere(differ)[0])
    first = f"the first at {index}: {one.values[index]:.9g} became {other.values[index]:.9g}"
    said = f"{kinds}: {int(differ.sum())} of {differ.size} differ, by {np.nanmax(gaps):.4g} at most, {first}"
    if kind is None or gguf.GGML_QUANT_SIZES[kind][0] == 1:
        return "!", said
    data = GGML.encode(one.values, kind)
    if data == other.data:
        return "~", f"{kinds}: the very bytes of ggml_quantize_chunk"
    theirs = GGML.decode(data, kind, one.values.size).reshape(one.shape)
    ours, best = (float(np.nanmean((one.values - made) ** 2.0)) for made in (other.values, theirs))
    return (
        "~" if ours <= best * 1.05 else "!",
        f"{kinds}: squared error {ours:.4g}, ggml's encoder has {best:.4g}; {said}",
    )


def compared(before: dict[str, Weight], after: dict[str, Weight]) -> Iterator[str]:
    """Lines on the tensors: how many are alike, and the ones that are not."""
    for word, names in (("lost", before.keys() - after.keys()), ("new", after.keys() - before.keys())):
        if names:
            yield f"! {len(names)} tensors {word}: {', '.join(sorted(names)[:8])}"
    classes: dict[tuple[str, str], list[str]] = {}
    for name in sorted(before.keys() & after.keys()):
        mark, said = relation(before[name], after[name])
        if mark == "!":
            yield f"! {name}: {said}" if len(classes.setdefault((mark, ""), [])) < SHOWN else f"! {name}"
            classes[mark, ""].append(name)
        else:
            classes.setdefault(
                (mark, said.split(";")[0] if "error" not in said else "squared error no more than ggml's"), []
            ).append(name)
    for (mark, said), names in classes.items():
        if mark != "!":
            yield f"{mark} {len(names)} tensors: {said} (such as {names[0]})"


def fields_compared(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Lines on the metadata of two GGUF files."""
    same = 0
    for name in sorted(before.keys() | after.keys()):
        if name.startswith(("GGUF.", "split.")):
            continue
        one, other = before.get(name), after.get(name)
        if repr(one) == repr(other):
            same += 1
        else:
            yield f"! {name}: {_short(one)} became {_short(other)}"
    yield f"= {same} keys of metadata: the same kinds and values, by gguf-py"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 90 else text[:87] + "..."


def config_of(path: Path) -> dict[str, Any]:
    """config.json, with the text model's part of it on top."""
    config = json.loads((path / "config.json").read_text("utf-8"))
    ropes = config.get("rope_parameters") or {}
    return {**ropes, **config, **(config.get("text_config") or {})}


def numbers_compared(config: dict[str, Any], fields: dict[str, Any], architecture: str) -> Iterator[str]:
    """Lines on config.json and GGUF metadata that say the same things."""
    for word, key in _NUMBERS.items():
        one, other = config.get(word), fields.get(f"{architecture}.{key}", (None, None))[1]
        alike = one == other or (
            isinstance(one, float) and isinstance(other, float) and np.float32(one) == np.float32(other)
        )
        yield f"{'=' if alike else '.' if None in (one, other) else '!'} {word} {one}: {key} {other}"
    for word, key in _ENDS.items():
        one, other = config.get(word), fields.get(f"tokenizer.ggml.{key}", (None, None))[1]
        yield f"{'=' if one == other else '.' if None in (one, other) else '!'} {word} {one}: {key} {other}"
    scaling = {name[len(architecture) + 1 :]: value[1] for name, value in fields.items() if ".rope.scaling." in name}
    yield f". rope of config.json {config.get('rope_scaling') or config.get('rope_parameters')}: GGUF {scaling}"
    yield f". tie_word_embeddings {config.get('tie_word_embeddings')}; dtype {config.get('dtype', config.get('torch_dtype'))}"


_LLAMA = """
import json, sys
import llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=64, logits_all=True, verbose=False, type_k=0, type_v=0, flash_attn=False)
texts = json.loads(sys.argv[2])
ids = [model.tokenize(text.encode(), add_bos=True, special=True) for text in texts]
model.eval(json.loads(sys.argv[3]))
print(json.dumps({"ids": ids, "logits": model.scores[:model.n_tokens].tolist()}))
"""
_TRANSFORMERS = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
said = {}
try:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    said["ids"] = [tokenizer(text)["input_ids"] for text in json.loads(sys.argv[2])]
except Exception as error:
    said["tokenizer"] = f"{type(error).__name__}: {error}"
model, info = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, output_loading_info=True)
said["info"] = {key: sorted(map(str, value)) for key, value in info.items() if value}
with torch.no_grad():
    said["logits"] = model(torch.tensor([json.loads(sys.argv[3])])).logits[0].tolist()
print(json.dumps(said))
"""
_TEXTS = ["Hello, world! 12345", "  two  spaces\n\tand it's", "Größe 世界 🦀", "<|im_start|>user<s></s>"]
_TOKENS = [1, 5, 9, 33, 20, 7]


def loaded(path: Path, transformers: str | None) -> dict[str, Any]:
    """What llama.cpp (a GGUF file) or transformers (a directory) makes of it: ids of texts, logits; or {"error": ...}."""
    if path.is_dir() and transformers is None:
        return {"error": "not loaded: no interpreter with transformers was named"}
    python, script = (transformers or "", _TRANSFORMERS) if path.is_dir() else (sys.executable, _LLAMA)
    command = [python, "-c", script, str(path.resolve()), json.dumps(_TEXTS), json.dumps(_TOKENS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        words = [line for line in done.stderr.splitlines() if "rror" in line or "invalid" in line or "missing" in line]
        return {"error": " | ".join(words[-2:]) or f"exit {done.returncode}"}


def loads_compared(src: Path, dst: Path, transformers: str | None) -> Iterator[str]:
    """Lines on what the engines say: each face by the engine of its format."""
    one, other = loaded(src, transformers), loaded(dst, transformers)
    for word, path, said in (("source", src, one), ("output", dst, other)):
        engine = "transformers" if path.is_dir() else "llama.cpp"
        for key in ("error", "tokenizer", "info"):
            if said.get(key):
                yield f"{'!' if word == 'output' else '.'} {engine} on the {word}: {key}: {_short(said[key])}"
    if "logits" in one and "logits" in other:
        first, second = (np.array(said["logits"], np.float64) for said in (one, other))
        width = min(first.shape[1], second.shape[1])
        gap = np.abs(first[:, :width] - second[:, :width]).max()
        spread = first.std()
        mark, counts = "=" if gap < 1e-3 * spread else ".", f"{first.shape[1]} and {second.shape[1]} of them"
        yield f"{mark} logits: {gap:.3g} apart at most, where they spread by {spread:.3g}; {counts}"
    for text, before, after in zip(_TEXTS, one.get("ids", []), other.get("ids", []), strict=False):
        yield f"{'=' if before == after else '!'} ids of {text!r}: {before if before == after else f'{before} became {after}'}"


def looked_at(src: Path, dst: Path, transformers: str | None = None) -> Iterator[str]:
    """All lines on one conversion."""
    faces = []
    for path in (src, dst):
        if path.suffix == ".gguf":
            weights, fields, said = gguf_weights(path)
            yield from said
            faces.append((weights, fields))
        else:
            faces.append((safetensors_weights(path), None))
    (before, one), (after, other) = faces
    if (one is None) != (other is None):
        fields, directory = (one, dst) if one is not None else (other, src)
        architecture = fields.get("general.architecture", ("", "llama"))[1]
        if directory.is_dir() and (directory / "config.json").exists():
            config = config_of(directory)
            if one is None:
                before = as_gguf(before, config, architecture)
            else:
                after = as_gguf(after, config, architecture)
            yield from numbers_compared(config, fields, architecture)
    elif one is not None and other is not None:
        yield from fields_compared(one, other)
    yield from compared(before, after)
    if (one or other or {}).get("general.architecture") is not None and (src.is_dir() or src.suffix == ".gguf"):
        yield from loads_compared(src, dst, transformers)


def main() -> None:
    """Print what foreign code says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src", type=Path)
    parser.add_argument("dst", type=Path)
    parser.add_argument("--transformers", metavar="PYTHON")
    arguments = parser.parse_args()
    for line in looked_at(arguments.src, arguments.dst, arguments.transformers):
        print(line)


if __name__ == "__main__":
    main()
