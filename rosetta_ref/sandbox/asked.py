"""What callers ask: of a tokenizer.json, and of a chat template."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.sandbox import process
from rosetta_ref.sandbox.process import OverLimitError

_MIB = 1 << 20
#: Beyond the limits, for each byte of a file that is large by right: two seconds for a MiB, and what parsing it takes.
_SECONDS_A_MIB, _BYTES_A_BYTE = 2.0, 24
_LEAST = 0.01
_TEMPLATE = "the chat template"


class RefusedError(RosettaError):
    """A tokenizer.json or a chat template is one that its library takes."""


class Tokenizer:
    """A tokenizer.json as the library `tokenizers` has it: neither truncates nor pads.

    Every method raises RefusedError, OverLimitError (the limit template-seconds is for all questions together), MissingLibraryError
    and SandboxError; `file` is what they name.
    """

    def __init__(self, data: bytes, file: str | Path | None = None) -> None:
        self._data, self._file = data, file
        self._key = hashlib.sha256(data).hexdigest()
        self._seconds = self._loading = limits.of("template-seconds") + _SECONDS_A_MIB * len(data) / _MIB
        self._was_loaded = False

    def load(self) -> None:
        """See whether it is taken."""
        self._ask("load")

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
        """The ids of each text; `special` adds what the tokenizer adds around one. Names of control tokens are parsed."""
        most = limits.of("template-output") // 2  # a number takes more memory than a character
        made: list[list[int]] = self._ask("encode", texts=list(texts), special=special, most=most)
        return made

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sequence of ids, control tokens by name."""
        made: list[str] = self._ask("decode", ids=[list(tokens) for tokens in ids])
        return made

    def vocabulary(self) -> dict[str, int]:
        """Every token, as the tokenizer spells it, and its id."""
        made: dict[str, int] = self._ask("vocabulary")
        return made

    def _ask(self, do: str, **arguments: Any) -> Any:
        nbytes = limits.of("template-bytes") + _BYTES_A_BYTE * len(self._data)
        seconds = max(self._seconds, _LEAST)
        common = {
            "do": do, "key": self._key, "seconds": seconds, "loading": self._loading, "bytes": nbytes,
            "most": limits.of("template-output"),
        }  # fmt: skip
        try:
            reply = _answer("tokenizer.json", {**common, **arguments}, self._data, self._file)
        except OverLimitError:
            self._seconds = 0
            raise
        # That the process had to load it again is no fault of the file.
        self._seconds -= reply["cpu"] + (0 if self._was_loaded else reply.get("loaded", 0))
        self._was_loaded = True
        return reply["value"]


def tokenizers_refuses(data: bytes) -> str | None:
    """Why the library `tokenizers` does not take that tokenizer.json, in a few words; None where it does.

    Raises MissingLibraryError where it is not installed, and SandboxError.
    """
    try:
        Tokenizer(data).load()
    except (RefusedError, OverLimitError) as error:
        return error.problem
    return None


class Template:
    """A chat template; the limit template-seconds is for all that is rendered with it.

    `render` raises RefusedError, OverLimitError, MissingLibraryError, SandboxError; `file` is what they name.
    """

    def __init__(self, template: str, file: str | Path | None = None) -> None:
        self._template, self._file = template, file
        self._seconds: float = limits.of("template-seconds")

    def render(self, question: str, named: Mapping[str, str]) -> str:
        """A user's message through it; `named` are texts that it may use, such as bos_token."""
        if len(self._template) > limits.of("template-length"):
            problem = f"{_TEMPLATE}: {len(self._template):,} characters"
            raise OverLimitError(problem, file=self._file, hint="--limits template-length=...")
        request = {
            "do": "render", "template": self._template, "question": question, "named": dict(named),
            "seconds": max(self._seconds, _LEAST), "bytes": limits.of("template-bytes"),
            "most": limits.of("template-output"),
        }  # fmt: skip
        try:
            reply = _answer(_TEMPLATE, request, None, self._file)
        except OverLimitError:
            self._seconds = 0
            raise
        self._seconds -= reply["cpu"]
        return str(reply["value"])


def render(template: str, question: str, named: Mapping[str, str], file: str | Path | None = None) -> str:
    """A user's message through a chat template, once. Raises as `Template.render`."""
    return Template(template, file).render(question, named)


def _answer(what: str, request: dict[str, Any], blob: bytes | None, file: str | Path | None) -> dict[str, Any]:
    try:
        reply = process.ask(request, blob)
    except OverLimitError as error:
        hint = "--limits template-seconds=..., template-bytes=... and template-output=... raise the limits."
        raise OverLimitError(f"{what}: {error.problem}", file=file, hint=hint) from None
    if "refused" in reply:
        raise RefusedError(f"{what}: {reply['refused']}", file=file)
    return reply
