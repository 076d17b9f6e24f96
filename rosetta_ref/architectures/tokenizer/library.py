"""What the `tokenizers` library says of a tokenizer.json, where it is installed: no other reader decides what such a file is.

A file that it refuses is read by nothing that runs the model, so whoever converts it should know now. The library is asked in a
process of its own: such a file can make it panic, or take all of the memory.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref import sandbox
from rosetta_ref.architectures.tokenizer.vocabulary import BrokenTokenizerFileError

_FILE = "tokenizer.json"


class RefusedTokenizerError(BrokenTokenizerFileError):
    """A tokenizer.json is one that the `tokenizers` library reads."""


def require_taken(files: Mapping[str, bytes]) -> None:
    """Raise RefusedTokenizerError where there is a tokenizer.json that the library refuses."""
    said = tokenizers_refuses(files[_FILE]) if _FILE in files else None
    if said is not None:
        raise RefusedTokenizerError(
            f"tokenizers says: {said}", file=_FILE, hint="--keep-names carries tensors and files as they are."
        )


def tokenizers_refuses(data: bytes) -> str | None:
    """Why the library refuses a tokenizer.json; None where it takes it, or is not installed."""
    try:
        return sandbox.tokenizers_refuses(data)
    except sandbox.MissingLibraryError:
        return None
