"""The files that a Hugging Face model has beside its weights: one table, for what is read and for what is written.

The names come from strangers on the way back (`rosetta.files` of a GGUF or APR file, `companions` of `rosetta/source.json`), and
what is not in the table is never written: a `conftest.py` or a `.bash_profile` beside the target would be run by whatever
looks there next. Files of other names (README.md, LICENSE, code) belong to a repository, not to the model: they are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from rosetta_ref import limits
from rosetta_ref.beside import NOTHING, kind_of, read_beside
from rosetta_ref.errors import RosettaError

#: What `save_pretrained` of transformers writes, what the vocabularies of its tokenizers are called, and what other loaders of
#: such a directory read (Mistral's params.json and tekken.json). Their order is that of the keys in a GGUF file.
NAMES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja",
    "chat_template.json", "preprocessor_config.json",
    "processor_config.json", "video_preprocessor_config.json", "image_processor_config.json", "audio_tokenizer_config.json",
    "vocab.txt", "spiece.model", "spm.model", "sentencepiece.bpe.model", "source.spm", "target.spm", "bpe.codes",
    "normalizer.json", "tokenizer.model.v3", "tekken.json", "tiktoken.model", "qwen.tiktoken", "params.json",
    "quantize_config.json", "quantization_config.json", "hf_quant_config.json",
)  # fmt: skip
#: Templates for special purposes (tool_use, rag), one a file.
TEMPLATES = "additional_chat_templates"
_TEMPLATE = re.compile(rf"{TEMPLATES}/([A-Za-z0-9_-]{{1,64}})\.jinja")
#: Names that are devices on Windows, whatever comes after the dot.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
_INDEX_SUFFIX = ".safetensors.index.json"
#: A shard's own name: one of a numbered set, or any name of letters that every file system takes.
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.safetensors")
_WEIGHTS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}\.safetensors")


class CompanionNameError(RosettaError):
    """A file beside the weights has one of the names that a Hugging Face model has, or is additional_chat_templates/NAME.jinja."""


def is_companion(name: str) -> bool:
    """Whether a file of that name, relative to the model's folder and with `/`, belongs to a model.

    >>> is_companion("tokenizer.json"), is_companion("additional_chat_templates/tool_use.jinja"), is_companion("conftest.py")
    (True, True, False)
    """
    if name in NAMES:
        return True
    template = _TEMPLATE.fullmatch(name)
    return template is not None and _DEVICE.match(template[1]) is None


def require_companions(names: Iterable[str], what: str, *, file: str | Path | None = None) -> None:
    """Raise CompanionNameError where one of the names is none of a companion, or two are one where case does not count.

    `what` says where the names stand.
    """
    seen: set[str] = set()
    for name in names:
        if not is_companion(name):
            raise CompanionNameError(f"{what} names {name!r}", file=file)
        if name.lower() in seen:
            raise CompanionNameError(f"{what} names {name!r} twice, but for case", file=file)
        seen.add(name.lower())


def is_weights(name: str) -> bool:
    """Whether a file may be called that, as one with weights: a plain name, no hidden file.

    >>> is_weights("model-00001-of-00002.safetensors"), is_weights(".hidden.safetensors"), is_weights("../a.safetensors")
    (True, False, False)
    """
    return _WEIGHTS.fullmatch(name) is not None and _DEVICE.match(name) is None


def index_name(shards: Iterable[str]) -> str:
    """The name of the index of a set of shards: that of their common stem, or `model.safetensors.index.json`.

    >>> index_name(["a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"]), index_name(["a.safetensors"])
    ('a.safetensors.index.json', 'model.safetensors.index.json')
    """
    numbered = [_NUMBERED.fullmatch(name) for name in shards]
    stems = {match["stem"] if match is not None else None for match in numbered}
    stem = stems.pop() if len(stems) == 1 else None
    return f"{stem or 'model'}{_INDEX_SUFFIX}"


def present(folder: Path) -> list[str]:
    """The names of the companions that stand in a folder, whatever they are: in the table's order, then the templates, sorted.

    A folder with templates that cannot be listed has none.
    """
    names = [name for name in NAMES if kind_of(folder / name) is not NOTHING]
    try:
        templates = sorted(os.listdir(folder / TEMPLATES))
    except OSError:
        templates = []
    return names + [name for name in (f"{TEMPLATES}/{one}" for one in templates) if is_companion(name)]


def indexes(folder: Path) -> list[str]:
    """The names of the indexes of shards in a folder."""
    return sorted(path.name for path in folder.glob(f"*{_INDEX_SUFFIX}"))


def collect(folder: Path, *, with_indexes: bool = True) -> dict[str, bytes]:
    """The companions of a folder, by name; then the indexes, where they are asked for.

    Raises OutsideLinkError, NotAFileError, UnreadableTextError, LimitExceededError.
    """
    found: dict[str, bytes] = {}
    total = 0
    for name in [*present(folder), *(indexes(folder) if with_indexes else [])]:
        found[name] = read_beside(folder, name)
        total += len(found[name])
        limits.require("companions-bytes", total, "the companions", file=folder)
    return found


def others(folder: Path, known: Iterable[str]) -> list[str]:
    """The names of what else a folder holds, sorted; folders end in `/`. `known` are the names of the weights and the like."""
    ours = {*NAMES, TEMPLATES, *known, *indexes(folder)}
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name not in ours]
    return sorted(name + "/" * folded for name, folded in found)
