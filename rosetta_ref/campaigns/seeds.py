"""Valid inputs of every kind, tiny, made once by the package's own writers: what the mutators break.

A seed is a tree of files. Its `main` is what is named on the command line: a file, an index, or a folder.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.quant import TYPES


@dataclass(frozen=True)
class Seed:
    """Files by name, and which of them is meant; `format` is gguf, apr or safetensors, or what else it is."""

    name: str
    format: str
    main: str
    files: Mapping[str, bytes]
    #: Files that are mutated more often than others.
    likely: tuple[str, ...] = field(default=())


_LITTLE = Spec("llama", 2, 1, 4, 12, layers=1)
_CASES = (("F16", "index-coded"),)


@cache
def all_seeds() -> dict[str, Seed]:
    """Every seed by name. Takes about a second."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        found = [*_ggufs(place), *_directories(place), *_aprs(place), *_plain(place)]
    return {seed.name: seed for seed in found}


def of_format(*formats: str) -> list[Seed]:
    """The seeds of some formats."""
    return [seed for seed in all_seeds().values() if seed.format in formats]


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def bare(width: int = 8, *, kind: str = "F32") -> Archive:
    """A llama of one layer without a vocabulary: about 3 kB."""
    model = build("bare", Spec("llama", 2, 1, width // 2, 12, layers=1, tied=True), [("F32", "index-coded")], 0).model
    rows = model.tensors["token_embd.weight"]
    tensors = {name: tensor for name, tensor in model.tensors.items() if tensor is not rows}
    short = Tensor.of(rows.name, rows.type, (4, width), rows.data[: 16 * width].copy())
    keys = {key: value for key, value in model.metadata.items() if not key.startswith("tokenizer.")}
    keys |= {
        "tokenizer.ggml.model": Value.scalar(Kind.STRING, "no_vocab"),
        "llama.vocab_size": Value.scalar(Kind.U32, 4),
    }
    return Archive("gguf", keys, {rows.name: short, **tensors})


def _ggufs(place: Path) -> list[Seed]:
    made = []

    def add(name: str, archive: Archive, format: str = "gguf") -> bytes:  # noqa: A002
        gguf.write(archive, place / f"{name}.gguf")
        data = (place / f"{name}.gguf").read_bytes()
        made.append(Seed(name, format, "m.gguf", {"m.gguf": data}))
        return data

    small = add("gguf-bare", bare())
    add("gguf-llama", build("m", _LITTLE, _CASES, 0).model)
    add("gguf-spm", build("m", Spec("llama", 2, 2, 4, 12, layers=1, tied=True, tokenizer="spm"), _CASES, 1).model)
    add(
        "gguf-qwen2",
        build(
            "m",
            Spec("qwen2", 2, 1, 4, 12, layers=1, tokenizer="smollm"),
            (("BF16", "index-coded"), ("F32", "index-coded")),
            2,
        ).model,
    )
    add("gguf-q8", build("m", Spec("llama", 2, 1, 16, 32, layers=1, tied=True), (("Q8_0", "index-coded"),), 3).model)
    add("gguf-types", _blocks())
    add("gguf-kinds", _kinds())
    made.append(Seed("gguf-big-endian", "gguf", "m.gguf", {"m.gguf": _big_endian()}))
    made.append(Seed("gguf-v2", "gguf", "m.gguf", {"m.gguf": small[:4] + struct.pack("<I", 2) + small[8:]}))
    made.append(_split(place))
    gguf.write(_imatrix(), place / "imatrix.gguf")
    made.append(Seed("imatrix", "imatrix", "i.gguf", {"i.gguf": (place / "imatrix.gguf").read_bytes()}))
    return made


def _blocks() -> Archive:
    """A tensor of each type, of one row of one block."""
    tensors, skipped = {}, ("F64", "Q8_K")
    for number, (name, kind) in enumerate(TYPES.items()):
        if kind.id is None or name in skipped or kind.is_whole:
            continue
        shape = (1, kind.elements)
        data = np.arange(kind.nbytes(shape), dtype=np.uint8) * 3 + number
        tensors[f"t.{name}"] = Tensor.of(f"t.{name}", kind, shape, data.astype(np.uint8))
    return Archive("gguf", {"general.name": Value.scalar(Kind.STRING, "types")}, tensors)


def _kinds() -> Archive:
    """A key of each kind, and tensors of no, one and four dimensions."""
    keys: dict[str, Value] = {"general.alignment": Value.scalar(Kind.U32, 64)}
    for kind in Kind:
        if kind is Kind.STRING:
            keys["k.string"] = Value.scalar(kind, "text")
            keys["a.string"] = Value.array(kind, ["a", "", "\u00e9"])
        elif kind is not Kind.ARRAY:
            keys[f"k.{kind.name}"] = Value.scalar(kind, 1)
            keys[f"a.{kind.name}"] = Value.array(kind, [1, 0, 1])
    shapes: dict[str, tuple[int, ...]] = {"scalar": (), "one": (3,), "four": (2, 1, 2, 2), "none": (0, 4)}
    tensors = {name: Tensor.of(name, TYPES["F32"], shape, np.ones(shape, np.float32)) for name, shape in shapes.items()}
    return Archive("gguf", keys, tensors)


def _big_endian() -> bytes:
    """Written by hand: no writer here makes one."""
    key = struct.pack(">Q", 1) + b"k" + struct.pack(">II", 4, 7)
    info = struct.pack(">Q", 1) + b"t" + struct.pack(">IQIQ", 1, 3, 0, 0)
    head = b"GGUF" + struct.pack(">Iqq", 3, 1, 1) + key + info
    return head + bytes(-len(head) % 32) + struct.pack(">3f", 1, 2, 3) + bytes(20)


def _split(place: Path) -> Seed:
    model = bare()
    names, files = list(model.tensors), {}
    cut = len(names) // 2
    for number, part in enumerate((names[:cut], names[cut:])):
        keys = {} if number else dict(model.metadata)
        keys |= {"split.no": Value.scalar(Kind.U16, number), "split.count": Value.scalar(Kind.U16, 2)}
        keys["split.tensors.count"] = Value.scalar(Kind.I32, len(names))
        path = place / f"m-{number + 1:05}-of-00002.gguf"
        gguf.write(Archive("gguf", keys, {name: model.tensors[name] for name in part}), path, part=True)
        files[path.name] = path.read_bytes()
    return Seed("gguf-split", "gguf", "m-00001-of-00002.gguf", files)


def _imatrix() -> Archive:
    keys = {
        "general.type": Value.scalar(Kind.STRING, "imatrix"), "imatrix.datasets": Value.array(Kind.STRING, ["d.txt"]),
        "imatrix.chunk_count": Value.scalar(Kind.U32, 1), "imatrix.chunk_size": Value.scalar(Kind.U32, 512),
    }  # fmt: skip
    tensors = {}
    for name, tensor in build(
        "m", Spec("llama", 2, 1, 16, 32, layers=1, tied=True), (("F32", "index-coded"),), 3
    ).model.tensors.items():
        if len(tensor.shape) == 2:
            sums = np.linspace(1, 2, tensor.shape[1], dtype=np.float32)
            tensors[f"{name}.in_sum2"] = Tensor.of(f"{name}.in_sum2", TYPES["F32"], (1, tensor.shape[1]), sums)
            tensors[f"{name}.counts"] = Tensor.of(f"{name}.counts", TYPES["F32"], (1, 1), np.ones(1, np.float32))
    return Archive("gguf", keys, tensors)


_BESIDE = {
    "special_tokens_map.json": b'{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}}',
    "added_tokens.json": b'{"<|x|>": 300}', "vocab.json": b'{"a": 0, "b": 1}', "merges.txt": b"#version: 0.2\na b\n",
    "chat_template.jinja": b"{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}",
    "additional_chat_templates/tools.jinja": b"{{ messages }}", "preprocessor_config.json": b"{}",
}  # fmt: skip


def _directories(place: Path) -> list[Seed]:
    made = []
    for name, spec in (("hf-llama", _LITTLE), ("hf-modern", Spec("qwen2", 2, 1, 4, 12, layers=1, modern=True, tokenizer="smollm")),
                       ("hf-spm", Spec("llama", 2, 2, 4, 12, layers=1, tied=True, tokenizer="spm"))):  # fmt: skip
        sample = build("m", spec, _CASES, 5)
        gguf.write(sample.model, place / f"{name}.gguf")
        convert(place / f"{name}.gguf", place / name, keep_blocks=False, extra_keys=False)
        files = _tree(place / name) | dict(sample.companions) | (_BESIDE if name == "hf-llama" else {})
        made.append(Seed(name, "safetensors", ".", files, ("config.json", "tokenizer.json", "tokenizer_config.json")))
    convert(place / "hf-llama.gguf", place / "sharded", keep_blocks=False, max_shard_size=6000)
    index = ("model.safetensors.index.json",) * 3
    made.append(Seed("hf-sharded", "safetensors", ".", _tree(place / "sharded"), index))
    convert(place / "gguf-q8.gguf", place / "kept")
    made.append(
        Seed(
            "hf-kept",
            "safetensors",
            ".",
            _tree(place / "kept"),
            ("rosetta/source.json",) * 4 + ("rosetta/blocks.safetensors",),
        )
    )
    convert(place / "gguf-bare.gguf", place / "kept-bare")
    made.append(Seed("hf-kept-bare", "safetensors", ".", _tree(place / "kept-bare"), ("rosetta/source.json",) * 4))
    return [*made, *_remembered(place)]


def _remembered(place: Path) -> list[Seed]:
    """GGUF and APR files that hold what a directory was like."""
    made = []
    for folder in ("hf-llama", "sharded", "kept-bare"):
        for end, format in ((".gguf", "gguf"), (".apr", "apr")):  # noqa: A001
            target = place / f"of-{folder}{end}"
            convert(place / folder, target)
            made.append(Seed(f"{format}-of-{folder}", format, f"m{end}", {f"m{end}": target.read_bytes()}))
    return made


def _aprs(place: Path) -> list[Seed]:
    made = []
    for name in ("gguf-bare", "gguf-llama", "gguf-q8"):
        convert(place / f"{name}.gguf", place / f"{name}.apr")
        made.append(Seed(f"apr-of-{name}", "apr", "m.apr", {"m.apr": (place / f"{name}.apr").read_bytes()}))
    tensors = {f"t{i}": Tensor.of(f"t{i}", TYPES["F32"], (2, i), np.ones((2, i), np.float32)) for i in range(4)}
    apr.write(Archive("apr", {"model_type": "other", "name": "x"}, tensors), place / "x.apr")
    return [*made, Seed("apr-plain", "apr", "m.apr", {"m.apr": (place / "x.apr").read_bytes()})]


def _plain(place: Path) -> list[Seed]:
    """A single SafeTensors file of many types, without anything beside it."""
    tensors = {}
    for name in ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL"):
        kind = TYPES[name]
        tensors[f"t.{name}"] = Tensor.of(f"t.{name}", kind, (2, 2), np.zeros(kind.nbytes((2, 2)), np.uint8))
    safetensors.write(Archive("safetensors", {"format": "pt"}, tensors), place / "p.safetensors")
    return [
        Seed(
            "safetensors-plain",
            "safetensors",
            "m.safetensors",
            {"m.safetensors": (place / "p.safetensors").read_bytes()},
        )
    ]
