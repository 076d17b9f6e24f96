"""Chat templates: where a directory has them, and GGUF's keys for them. The order is that of `rosetta_ref.places`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import parts, vocabulary
from rosetta_ref.architectures.tokenizer.vocabulary import Json
from rosetta_ref.archive import Kind, Value

_TEMPLATE, _TEMPLATES = "tokenizer.chat_template", "tokenizer.chat_templates"
_JINJA, _JSON, _DEFAULT = "chat_template.jinja", "chat_template.json", "default"
_FOLDER = re.compile(r"additional_chat_templates/(.+)\.jinja")
#: The names that a file in that folder may have here.
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEVICE = re.compile(r"(?i)con|prn|aux|nul|com[0-9]|lpt[0-9]")


def keys(files: Mapping[str, bytes], config: Json, notes: list[str]) -> dict[str, Value]:
    """The GGUF keys of the templates of a directory; a note on one that transformers does not read.

    Raises BrokenTokenizerFileError.
    """
    by_file, by_key = _of_files(files), _named(config.get("chat_template"), parts.CONFIG)
    found = by_file or by_key or _named(parts.from_json(files, _JSON).get("chat_template"), _JSON)
    unread = [name for name, template in by_key.items() if by_file and by_file.get(name) != template]
    if unread:
        notes.append(
            f"{parts.CONFIG} has another chat template ({shown(unread[0])}), which is not read where files have templates"
        )
    others = [name for name in found if name != _DEFAULT]
    out = {f"{_TEMPLATE}.{name}": Value.scalar(Kind.STRING, found[name]) for name in others}
    if others:
        out[_TEMPLATES] = Value.array(Kind.STRING, others)
    if _DEFAULT in found:
        out[_TEMPLATE] = Value.scalar(Kind.STRING, found[_DEFAULT])
    return out


def _of_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """The templates that are files of their own, by name."""
    found = {_DEFAULT: files[_JINJA]} if _JINJA in files else {}
    named = sorted((match[1], name) for name in files if (match := _FOLDER.fullmatch(name)))
    found |= {name: files[file] for name, file in named}
    return {name: data.decode("utf-8", "surrogateescape") for name, data in found.items()}


def _named(stated: Any, file: str) -> dict[str, str]:
    """The templates of a JSON file by name: one text, a list of names and templates, or an object of them."""
    if stated is None:
        return {}
    if isinstance(stated, str):
        return {_DEFAULT: stated}
    pairs = (
        [(name, template) for name, template in stated.items()]
        if isinstance(stated, dict)
        else [(entry.get("name"), entry.get("template")) for entry in parts.tables(stated, "chat_template", file)]
    )
    return {
        parts.text(name, "chat_template.name", file): parts.text(template, "chat_template.template", file)
        for name, template in pairs
    }


def files(metadata: Mapping[str, Value], config: Json) -> dict[str, bytes]:
    """The template files of GGUF metadata; those whose names no file can have go into `config`, all of them."""
    template, named = vocabulary.text(metadata, _TEMPLATE), vocabulary.texts(metadata, _TEMPLATES)
    texts = {} if template is None else {_DEFAULT: template}
    for name in named or ():
        one = vocabulary.text(metadata, f"{_TEMPLATE}.{name}" if name != _DEFAULT else _TEMPLATE)
        texts |= {} if one is None else {name: one}
    if named is not None and not _is_folder(named, template):
        config["chat_template"] = [{"name": name, "template": one} for name, one in texts.items()]
        return {}
    return {
        _JINJA if name == _DEFAULT else f"additional_chat_templates/{name}.jinja": one.encode(
            "utf-8", "surrogateescape"
        )
        for name, one in texts.items()
    }


def _is_folder(names: list[str], template: str | None) -> bool:
    """Whether transformers would save them as files: with a default, and under names that every file system has apart."""
    plain = all(_FILE_NAME.fullmatch(name) and not _DEVICE.fullmatch(name) for name in names)
    return template is not None and plain and len({name.lower() for name in names}) == len(names)
