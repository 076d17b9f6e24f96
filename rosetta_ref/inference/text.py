"""Between text and tokens: the model's own tokenizer, by the library `tokenizers`, and its chat template.

A Hugging Face directory has a tokenizer.json; GGUF and APR carry the keys that one is made of, and a directory with only a
SentencePiece tokenizer.model is read by way of those keys too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from rosetta_ref.architectures.aprender_keys import gguf_metadata
from rosetta_ref.architectures.tokenizer import tokenizer_files, tokenizer_metadata
from rosetta_ref.archive import Archive, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.parameters import FAMILIES, gguf_metadata_of_apr, parse_json

_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json",
    "config.json", "generation_config.json", "chat_template.jinja",
)  # fmt: skip
INSTALL = "pip install 'rosetta-ref[verify]'"


class NoTokenizerError(RosettaError):
    """Text needs a tokenizer."""


class BrokenTokenizerError(RosettaError):
    """A tokenizer.json is one that the library `tokenizers` reads."""


class NoTemplateError(RosettaError):
    """A chat needs a chat template."""


class TemplateError(RosettaError):
    """A chat template is a Jinja template that takes a message of a user."""


class MissingLibraryError(RosettaError):
    """An engine works where its library is installed."""


def library(name: str, hint: str = INSTALL) -> Any:
    """An optional library. Raises MissingLibraryError."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibraryError(f"{name} is not installed", hint=f"Install it: {hint}") from error


@dataclass(frozen=True)
class Text:
    """The tokenizer files of a model by name; none where the model has no vocabulary."""

    files: Mapping[str, bytes]
    path: Path | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a tokenizer."""
        return "tokenizer.json" in self.files

    @cached_property
    def _tokenizer(self) -> Any:
        if not self.exists:
            raise NoTokenizerError("the model has no vocabulary", file=self.path)
        try:
            made = library("tokenizers").Tokenizer.from_str(self.files["tokenizer.json"].decode("utf-8", "replace"))
        except MissingLibraryError:
            raise
        except Exception as error:  # the library raises nothing narrower
            raise BrokenTokenizerError(f"tokenizer.json: {error}", file=self.path) from error
        made.no_truncation()
        made.no_padding()
        return made

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; `special` adds what the tokenizer adds around a text. Names of control tokens are parsed."""
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, with nothing added around it."""
        return [list(one.ids) for one in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, control tokens by name."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    @cached_property
    def tokens(self) -> dict[int, str]:
        """Every token by its id, as the tokenizer spells it."""
        return {index: token for token, index in self._tokenizer.get_vocab(with_added_tokens=True).items()}

    @cached_property
    def _config(self) -> dict[str, Any]:
        name = "tokenizer_config.json"
        return parse_json(self.files[name], name) if name in self.files else {}

    @property
    def template(self) -> str | None:
        """The chat template, if there is one; the one named default where there are several."""
        if "chat_template.jinja" in self.files:
            try:
                return self.files["chat_template.jinja"].decode()
            except UnicodeDecodeError as error:
                raise TemplateError(f"chat_template.jinja: {error}", file=self.path) from error
        stated = self._config.get("chat_template")
        if isinstance(stated, list):
            stated = {one["name"]: one["template"] for one in stated}.get("default")
        return stated if isinstance(stated, str) else None

    def chat(self, question: str) -> list[int]:
        """The token ids of a user's message through the chat template. Raises NoTemplateError or TemplateError."""
        if self.template is None:
            raise NoTemplateError("the model has none", file=self.path)
        named = {key: self._special(key) for key in ("bos_token", "eos_token")}
        return self.encode(rendered(self.template, question, named, self.path), special=False)

    def _special(self, key: str) -> str:
        stated = self._config.get(key)
        if isinstance(stated, dict):
            stated = stated.get("content")
        return stated if isinstance(stated, str) else ""

    @cached_property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer, as the configuration names them."""
        found: set[int] = set()
        for name in ("generation_config.json", "config.json"):
            stated = parse_json(self.files[name], name).get("eos_token_id") if name in self.files else None
            found |= set(stated) if isinstance(stated, list) else {stated} if isinstance(stated, int) else set()
        named = self._special("eos_token")
        if self.exists and named:
            found.add(self._tokenizer.token_to_id(named))
        return frozenset(index for index in found if index is not None)


def rendered(template: str, question: str, named: Mapping[str, str], path: Path | None = None) -> str:
    """A user's message through a chat template. Raises TemplateError."""
    jinja2, sandbox = library("jinja2"), library("jinja2.sandbox")
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    messages = [{"role": "user", "content": question}]
    try:
        made = environment.from_string(template).render(messages=messages, add_generation_prompt=True, **named)
    except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
        raise TemplateError(f"{type(error).__name__}: {error}", file=path) from error
    return str(made)


def _raise(message: str) -> None:
    raise ValueError(message)


def text_of(archive: Archive, path: Path) -> Text:
    """The tokenizer of an open archive."""
    if archive.format == "safetensors":
        return text_of_directory(path if path.is_dir() else path.parent)
    metadata = archive.metadata
    if archive.format == "apr":
        carried = gguf_metadata_of_apr(metadata)
        metadata = carried if carried is not None else gguf_metadata(metadata, _family(metadata))[0]
    files = tokenizer_files(metadata)
    return Text({**files, **_stops(metadata)} if files else {}, path)


def _family(metadata: Mapping[str, Any]) -> str:
    return FAMILIES.get(str(metadata.get("architecture") or metadata.get("model_type")).lower(), "llama")


def _stops(metadata: Mapping[str, Value]) -> dict[str, bytes]:
    """GGUF names the tokens that end an answer one by one."""
    keys = [f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom")]
    stops = [metadata[key].plain() for key in keys if key in metadata]
    return {"generation_config.json": json.dumps({"eos_token_id": stops}).encode()}


def text_of_directory(folder: Path) -> Text:
    """The tokenizer files of a Hugging Face directory."""
    files = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).is_file()}
    if "tokenizer.json" not in files and "tokenizer.model" in files:
        size = parse_json(files.get("config.json", b"{}"), "config.json").get("vocab_size")
        if type(size) is not int:
            raise BrokenTokenizerError("config.json does not say vocab_size", file=folder)
        made = tokenizer_files(tokenizer_metadata(files, size))
        files |= {"tokenizer.json": made["tokenizer.json"]}
    return Text(files, folder)
