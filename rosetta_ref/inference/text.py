"""Between text and tokens: the model's own tokenizer, by the library `tokenizers`, and its chat template.

A Hugging Face directory has a tokenizer.json; GGUF and APR carry the keys that one is made of, and a directory with only a
SentencePiece tokenizer.model is read by way of those keys too. Neither the library nor the template runs in this process
(`rosetta_ref.sandbox`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from rosetta_ref import limits, sandbox
from rosetta_ref.architectures.aprender_keys import gguf_texts, gguf_tokenizer
from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import token_id, tokenizer_files, tokenizer_metadata
from rosetta_ref.archive import Archive, Value
from rosetta_ref.beside import read_beside
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.registry import of
from rosetta_ref.inference.keys import ParameterError, parse_json
from rosetta_ref.inference.parameters import gguf_metadata_of_apr
from rosetta_ref.sandbox import MissingLibraryError as MissingLibraryError  # callers know it from here

_FILES = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json",
    "config.json", "generation_config.json", "chat_template.jinja",
)  # fmt: skip
_TEMPLATES = "additional_chat_templates"
INSTALL = "pip install 'rosetta-ref[verify]'"


class NoTokenizerError(RosettaError):
    """Text needs a tokenizer."""


class BrokenTokenizerError(RosettaError):
    """A tokenizer.json is one that the library `tokenizers` reads."""


class TokenizerLimitError(BrokenTokenizerError):
    """A tokenizer answers within the limits of time, memory and length, and leaves its process alive."""


class NoTemplateError(RosettaError):
    """A chat needs a chat template."""


class TemplateError(RosettaError):
    """A chat template is a Jinja template that takes a message of a user."""


class TemplateLimitError(TemplateError):
    """A chat template answers within the limits of time, memory and length, and leaves its process alive."""


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
    def _tokenizer(self) -> sandbox.Tokenizer:
        if not self.exists:
            raise NoTokenizerError("the model has no vocabulary", file=self.path)
        return sandbox.Tokenizer(self.files["tokenizer.json"], self.path)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; `special` adds what the tokenizer adds around a text. Names of control tokens are parsed.

        Raises LimitExceededError where there are many more than the text has bytes.
        """
        tokenizer, known = self._tokenizer, self._encoded
        if (text, special) not in known:
            with _telling(BrokenTokenizerError, TokenizerLimitError):
                (known[text, special],) = tokenizer.encode([text], special=special)
        return self._within(list(known[text, special]), text)

    def _within(self, ids: list[int], asked: str) -> list[int]:
        """The ids, where they are not many more than the bytes of what is asked."""
        extra = len(ids) - len(asked.encode("utf-8", "replace"))
        limits.require("prompt-tokens", extra, "tokens of a prompt beyond its bytes", file=self.path)
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, with nothing added around it."""
        tokenizer = self._tokenizer
        with _telling(BrokenTokenizerError, TokenizerLimitError):
            return tokenizer.encode(texts)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, control tokens by name."""
        key, known = tuple(tokens), self._decoded
        if key not in known:
            (known[key],) = self.decode_all([tokens])
        return known[key]

    def decode_all(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence of ids."""
        tokenizer = self._tokenizer
        with _telling(BrokenTokenizerError, TokenizerLimitError):
            return tokenizer.decode(sequences)

    #: What was asked before: prompts and answers come several times, and each question costs two switches of processes.
    @cached_property
    def _encoded(self) -> dict[tuple[str, bool], list[int]]:
        return {}

    @cached_property
    def _decoded(self) -> dict[tuple[int, ...], str]:
        return {}

    @cached_property
    def _rendered(self) -> dict[str, str]:
        return {}

    @cached_property
    def _ids(self) -> dict[str, int]:
        tokenizer = self._tokenizer
        with _telling(BrokenTokenizerError, TokenizerLimitError):
            return tokenizer.vocabulary()

    @cached_property
    def tokens(self) -> dict[int, str]:
        """Every token by its id, as the tokenizer spells it."""
        return {index: token for token, index in self._ids.items()}

    def _json(self, name: str) -> dict[str, Any]:
        return parse_json(self.files[name], name, self.path) if name in self.files else {}

    @cached_property
    def _config(self) -> dict[str, Any]:
        return self._json("tokenizer_config.json")

    @cached_property
    def template(self) -> str | None:
        """The chat template, if there is one; the one named default where there are several. Raises TemplateError."""
        if "chat_template.jinja" in self.files:
            try:
                return self.files["chat_template.jinja"].decode()
            except UnicodeDecodeError as error:
                raise TemplateError(f"chat_template.jinja: {error}", file=self.path) from error
        # Any template in a file of its own takes the place of all those of tokenizer_config.json.
        stated = None if _named_templates(self.path) else self._config.get("chat_template")
        if isinstance(stated, dict):
            stated = [{"name": name, "template": template} for name, template in stated.items()]
        for one in stated if isinstance(stated, list) else ():
            if not isinstance(one, dict) or not {str} == {type(one.get("name")), type(one.get("template"))}:
                raise TemplateError(f"tokenizer_config.json names the chat template {shown(one)}", file=self.path)
        if isinstance(stated, list):
            stated = {one["name"]: one["template"] for one in stated}.get("default")
        if not isinstance(stated, (str, type(None))):
            raise TemplateError(f"chat_template of tokenizer_config.json is {shown(stated)}", file=self.path)
        return stated

    @cached_property
    def _chat_template(self) -> sandbox.Template:
        return sandbox.Template(self.template or "", self.path)

    def chat(self, question: str) -> list[int]:
        """The token ids of a user's message through the chat template. Raises NoTemplateError or TemplateError."""
        if self.template is None:
            raise NoTemplateError("the model has none", file=self.path)
        named = {key: self._special(key) for key in ("bos_token", "eos_token")}
        if question not in self._rendered:
            with _telling(TemplateError, TemplateLimitError):
                self._rendered[question] = self._chat_template.render(question, named)
        return self._within(self.encode(self._rendered[question], special=False), question)

    def _special(self, key: str) -> str:
        """A special token's text; special_tokens_map.json counts first where there is no added_tokens_decoder."""
        legacy = {} if "added_tokens_decoder" in self._config else self._json("special_tokens_map.json")
        for source in (legacy, self._config):
            stated = source.get(key)
            if isinstance(stated, dict):
                stated = stated.get("content")
            if isinstance(stated, str):
                return stated
        return ""

    @cached_property
    def stops(self) -> frozenset[int]:
        """The tokens that end an answer, as the configuration names them. Raises ParameterError."""
        found: set[int] = set()
        for name in ("generation_config.json", "config.json"):
            stated = self._json(name).get("eos_token_id")
            several = stated if isinstance(stated, list) else [] if stated is None else [stated]
            if not all(type(index) is int for index in several):
                raise ParameterError(f"eos_token_id of {name} is {shown(stated)}", file=self.path)
            found |= set(several)
        named = self._special("eos_token")
        if self.exists and named in self._ids:
            found.add(self._ids[named])
        return frozenset(found)


@contextlib.contextmanager
def _telling(refused: type[RosettaError], limit: type[RosettaError]) -> Iterator[None]:
    """In the words of this module."""
    try:
        yield
    except sandbox.OverLimitError as error:
        raise limit(error.problem, file=error.file, hint=error.hint) from error
    except sandbox.RefusedError as error:
        raise refused(error.problem, file=error.file) from error


def rendered(template: str, question: str, named: Mapping[str, str], path: Path | None = None) -> str:
    """A user's message through a chat template. Raises TemplateError."""
    with _telling(TemplateError, TemplateLimitError):
        return sandbox.render(template, question, named, path)


def _named_templates(path: Path | None) -> list[str]:
    """The names of the templates in a folder of their own."""
    try:
        return [] if path is None else [name for name in os.listdir(path / _TEMPLATES) if name.endswith(".jinja")]
    except OSError:
        return []


def text_of(archive: Archive, path: Path) -> Text:
    """The tokenizer of an open archive."""
    if of(archive.format).has_companions:
        return text_of_directory(path if path.is_dir() else path.parent)
    metadata = archive.metadata
    try:
        if archive.format == "apr":
            carried = gguf_metadata_of_apr(metadata)
            metadata = carried if carried is not None else gguf_texts(metadata) | gguf_tokenizer(metadata)[0]
        files = tokenizer_files(metadata)
    except RosettaError as error:
        error.file = path  # tokenizer.json is what would have been made of it
        raise
    return Text({**files, **_stops(metadata)} if files else {}, path)


def _stops(metadata: Mapping[str, Value]) -> dict[str, bytes]:
    """GGUF names the tokens that end an answer one by one."""
    found = (token_id(metadata, f"{name}_token_id") for name in ("eos", "eot", "eom"))
    stops = [index for index in found if index is not None]
    return {"generation_config.json": json.dumps({"eos_token_id": stops}).encode()}


def text_of_directory(folder: Path) -> Text:
    """The tokenizer files of a Hugging Face directory."""
    files = {name: read_beside(folder, name) for name in _FILES if os.path.lexists(folder / name)}
    if "tokenizer.json" not in files and "tokenizer.model" in files:
        size = parse_json(files.get("config.json", b"{}"), "config.json", folder).get("vocab_size")
        if type(size) is not int or size < 0:
            raise BrokenTokenizerError(f"vocab_size of config.json is {shown(size)}", file=folder)
        limits.require("vocabulary", size, "vocab_size of config.json", file=folder)
        try:
            made = tokenizer_files(tokenizer_metadata(files, size))
        except RosettaError as error:
            error.file = folder if error.file is None else folder / error.file
            raise
        files |= {"tokenizer.json": made["tokenizer.json"]}
    return Text(files, folder)
