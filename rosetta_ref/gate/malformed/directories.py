"""Hugging Face directories in which one file does not go with the others; each file by itself may be whole.

A directory in several files is the twin, with its index. What its loaders do is the rule. transformers 5.24 (modeling_utils.py,
_get_resolved_checkpoint_files) takes model.safetensors where it is, else all tensors of the files that the index names
(utils/hub.py, get_checkpoint_shard_files), else nothing. llama.cpp's converter (conversion/base.py, index_tensors) reads the files
that the index names, without an index every model*.safetensors, and refuses where their tensors are not those of the index. Both
open files in the order of their names, and of two tensors of one name keep the last. Others (mlx-lm, older releases of llama.cpp)
read every model*.safetensors, whatever the index names. Where all refuse, so must a converter; where one of them has an answer, a
converter may accept, if what comes out is that of the twin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rosetta_ref import foreign
from rosetta_ref.gate.malformed.broken import MAY_ACCEPT, MUST_REFUSE, Edit, Malformed, NoTwinError, content_of
from rosetta_ref.gate.malformed.safetensors import INDEX, Safetensors

_TRANSFORMERS = "transformers 5.24, modeling_utils.py and utils/hub.py"
_LLAMA = "llama.cpp, conversion/base.py"
#: What is no matter to a loader that looks for names of tensors in all files: the index is wrong, and nothing is missing.
_BY_NAMES = ("index-names-a-missing-file", "index-names-a-file-outside", "index-names-the-wrong-file")
#: What Mistral publishes beside the shards of a model: loaders of the directory look for other names.
_CONSOLIDATED = "consolidated.safetensors"
#: What transformers takes before any index.
_SINGLE = "model.safetensors"
#: Files that are read whole, and who reads them in transformers 5.24.
_WORDS, _WORDS_CONFIG = "tokenizer.json", "tokenizer_config.json"
_TEXTS = {
    "config.json": "configuration_utils.py",
    _WORDS: "tokenization_utils_tokenizers.py",
    _WORDS_CONFIG: "tokenization_utils_base.py",
}


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
    said = f"The index says which files are the model: {_TRANSFORMERS}; {_LLAMA}"
    other = ((_CONSOLIDATED, _negative(last)),)
    yield _made("consolidated-beside-shards", MAY_ACCEPT, said, path, index.name, [], other)
    said = (
        f"The index says which files are the model: {_LLAMA}; {_TRANSFORMERS}, takes the one file, which lacks tensors"
    )
    yield _made("model-beside-index", MAY_ACCEPT, said, path, index.name, [], ((_SINGLE, _negative(last)),))
    yield from _of_copies(path, index, files)


def _of_copies(path: Path, index: Path, files: list[str]) -> Iterator[Malformed]:
    """The last tensor of the last file stands in the first file, too, with other values."""
    if len(files) < 2:
        return
    copied = ((files[0], _with_a_copy(content_of(path / files[0]), content_of(path / files[-1]))),)
    said = f"The file that the index names for a tensor has it, and the last of two counts: {_TRANSFORMERS}; {_LLAMA}"
    yield _made("tensor-in-two-files", MAY_ACCEPT, said, path, index.name, [], copied)
    said = f"Without an index the last of two counts: {_LLAMA}; {_TRANSFORMERS}, refuses files without an index"
    others = (*copied, (index.name, None))
    yield _made("tensor-in-two-files-without-an-index", MAY_ACCEPT, said, path, index.name, [], others)


def _of_texts(path: Path) -> Iterator[Malformed]:
    held = {name: content_of(path / name) for name in _TEXTS if (path / name).is_file()}
    for name, data in held.items():
        said = f"A file that is read is whole: transformers 5.24, {_TEXTS[name]}; others need no {name}"
        rule = f"{name.removesuffix('.json').replace('_', '-')}-cut"
        yield _made(rule, MAY_ACCEPT, said, path, name, [(len(data) // 2, len(data), b"")])
    if _WORDS in held and _WORDS_CONFIG in held:
        said = f"A tokenizer.json has a model of words: transformers 5.24, {_TEXTS[_WORDS]}; others need no tokenizer"
        edits, other = [(0, len(held[_WORDS]), held[_WORDS_CONFIG])], ((_WORDS_CONFIG, held[_WORDS]),)
        yield _made("tokenizer-files-swapped", MAY_ACCEPT, said, path, _WORDS, edits, other)


def _made(
    rule: str, verdict: str, source: str, twin: Path, file: str, edits: list[Edit],
    others: tuple[tuple[str, bytes | None], ...] = (),
) -> Malformed:  # fmt: skip
    return Malformed(f"directory/{rule}", verdict, source, twin, file, tuple(edits), others)


def _negative(data: bytes) -> bytes:
    """The same tensors, and of each every byte the other way round: nothing that is left of them is right."""
    file = Safetensors.of(data)
    return data[: file.start] + bytes(255 - byte for byte in data[file.start :])


def _with_a_copy(data: bytes, other: bytes) -> bytes:
    """A file, and behind its tensors the last one of another file, every byte the other way round."""
    file, held = Safetensors.of(data), Safetensors.of(other)
    entry = held.header[held.names[-1]]
    start, stop = (held.start + offset for offset in entry["data_offsets"])
    end = len(data) - file.start
    copy = {held.names[-1]: entry | {"data_offsets": [end, end + stop - start]}}
    ((_, _, header),) = file.raw(file.text(file.header | copy))
    return header + data[file.start :] + bytes(255 - byte for byte in other[start:stop])
