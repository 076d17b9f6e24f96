"""Hugging Face directories in which one file does not go with the others; each file by itself may be whole.

A directory in several files is the twin, with its index. What its loaders do is the rule. transformers (modeling_utils.py) reads
model.safetensors, else all tensors of the files that the index names; llama.cpp's converter (conversion/base.py, index_tensors)
reads every model*.safetensors, whatever file the index names, and refuses where their tensors are not those of the index. Where
both refuse, so must a converter; where one of them has an answer, a converter may accept, if what comes out is that of the twin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rosetta_ref import foreign
from rosetta_ref.gate.malformed.broken import MAY_ACCEPT, MUST_REFUSE, Edit, Malformed, NoTwinError, content_of
from rosetta_ref.gate.malformed.safetensors import INDEX, Safetensors

_TRANSFORMERS = "transformers, modeling_utils.py"
_LLAMA = "llama.cpp, conversion/base.py"
#: What is no matter to a loader that looks for names of tensors in all files: the index is wrong, and nothing is missing.
_BY_NAMES = ("index-names-a-missing-file", "index-names-a-file-outside", "index-names-the-wrong-file")
#: What Mistral publishes beside the shards of a model: loaders of the directory look for other names.
_CONSOLIDATED = "consolidated.safetensors"
#: Files that are read whole, and what a half of one is.
_TEXTS = ("config.json", "tokenizer.json", "tokenizer_config.json")


def of_directory(path: Path) -> list[Malformed]:
    """All that can be made of a directory with an index. Raises NoTwinError where there is none."""
    index = next(iter(sorted(path.glob("*.index.json"))), None) if path.is_dir() else None
    if index is None:
        raise NoTwinError("there is no index, so that there are no files that it does not fit", file=path)
    return [*_of_index(path, index), *_of_shards(path, index), *_of_texts(path)]


def _of_index(path: Path, index: Path) -> Iterator[Malformed]:
    data = content_of(index)
    content = foreign.json_object(data, file=index, what="the index")
    for rule, new, source in INDEX:
        name = rule.removeprefix("safetensors/")
        verdict = MAY_ACCEPT if name in _BY_NAMES else MUST_REFUSE
        yield _made(name, verdict, source, path, index.name, [(0, len(data), new(content))])
    names = list(content["weight_map"])
    kept = {name: file for name, file in content["weight_map"].items() if name != names[-1]}
    said = f"A tensor of a file that the index names: {_TRANSFORMERS} takes it; {_LLAMA} refuses it"
    edits = [(0, len(data), json.dumps(content | {"weight_map": kept}).encode())]
    yield _made("index-without-a-tensor", MAY_ACCEPT, said, path, index.name, edits)


def _of_shards(path: Path, index: Path) -> Iterator[Malformed]:
    files = sorted(set(foreign.json_object(content_of(index), file=index, what="the index")["weight_map"].values()))
    last = content_of(path / files[-1])
    said = f"Every file that is named is there: {_TRANSFORMERS}, {_LLAMA}"
    yield _made("shard-missing", MUST_REFUSE, said, path, index.name, [], ((files[-1], None),))
    yield _made("shard-empty", MUST_REFUSE, said, path, files[-1], [(0, len(last), b"")])
    said = f"The index says which files are the model: {_TRANSFORMERS}, and {_LLAMA} (names that begin with model)"
    other = ((_CONSOLIDATED, _negative(last)),)
    yield _made("consolidated-beside-shards", MAY_ACCEPT, said, path, index.name, [], other)


def _of_texts(path: Path) -> Iterator[Malformed]:
    for name in _TEXTS:
        if (path / name).is_file():
            data = content_of(path / name)
            said = f"A file that is read is whole: {_TRANSFORMERS}; others need no {name}"
            rule = f"{name.removesuffix('.json').replace('_', '-')}-cut"
            yield _made(rule, MAY_ACCEPT, said, path, name, [(len(data) // 2, len(data), b"")])


def _made(
    rule: str, verdict: str, source: str, twin: Path, file: str, edits: list[Edit],
    others: tuple[tuple[str, bytes | None], ...] = (),
) -> Malformed:  # fmt: skip
    return Malformed(f"directory/{rule}", verdict, source, twin, file, tuple(edits), others)


def _negative(data: bytes) -> bytes:
    """The same tensors, and of each every byte the other way round: nothing that is left of them is right."""
    file = Safetensors.of(data)
    return data[: file.start] + bytes(255 - byte for byte in data[file.start :])
