"""What the `tokenizers` library says of a tokenizer.json, where it is installed: no other reader decides what such a file is.

A file that it refuses is read by nothing that runs the model, so whoever converts it should know now.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        from tokenizers import Tokenizer
    except ImportError:
        return None
    try:
        Tokenizer.from_str(data.decode("utf-8"))
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 (a panic of Rust derives from BaseException)
        return f"{type(error).__name__}: {error}"
    return None
