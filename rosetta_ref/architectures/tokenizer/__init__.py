"""Tokenizers both ways: the `tokenizer.*` keys of GGUF <-> tokenizer.json, tokenizer_config.json and chat_template.jinja.

Read `vocabulary` (tokens, types), `parts` (what files hold, checked), `pretokenizers` (a table), `bpe` and `spm` (the two
kinds), `special` (BOS, EOS, template), `library` (which asks the library itself) and last `sentencepiece_proto`. The measure is
llama.cpp: a tokenizer.json made here gives its ids, text for text.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import bpe, parts, special, spm, vocabulary
from rosetta_ref.architectures.tokenizer.pretokenizers import UnknownPreTokenizerError
from rosetta_ref.architectures.tokenizer.vocabulary import (
    BrokenTokenizerFileError,
    BrokenVocabularyError,
    UnknownTokenizerModelError,
    Vocabulary,
    token_id,
)
from rosetta_ref.archive import Kind, Value

__all__ = [
    "BrokenTokenizerFileError",
    "BrokenVocabularyError",
    "UnknownPreTokenizerError",
    "UnknownTokenizerModelError",
    "token_id",
    "tokenizer_files",
    "tokenizer_metadata",
    "tokenizer_notes",
]

_KINDS = {"gpt2": bpe.tokenizer_json, "llama": spm.tokenizer_json}


def tokenizer_notes(metadata: Mapping[str, Value]) -> list[str]:
    """What no tokenizer file will say: the special tokens whose ids are beyond the vocabulary. Raises TokenizerValueError."""
    return [
        f"{key} is {shown(metadata[key].plain())}, which is no token: taken as absent, as llama.cpp does"
        for key in vocabulary.beyond(metadata)
    ]


def tokenizer_files(metadata: Mapping[str, Value]) -> dict[str, bytes]:
    """The tokenizer files, by name, of a GGUF model; none where it has no vocabulary.

    Raises UnknownTokenizerModelError, UnknownPreTokenizerError or BrokenVocabularyError.
    """
    model = vocabulary.model_of(metadata)
    if model == "no_vocab":
        return {}
    if model not in _KINDS:
        raise UnknownTokenizerModelError(
            f"tokenizer.ggml.model is {model!r}", hint="Convert to APR, which carries the keys, or use --keep-names."
        )
    vocab = Vocabulary.of(metadata)
    content = _KINDS[model](metadata, vocab)
    return {"tokenizer.json": vocabulary.to_json("tokenizer.json", content), **special.config_files(metadata, vocab)}


def tokenizer_metadata(
    files: Mapping[str, bytes],
    vocab_size: int,
    *,
    space_prefix: bool | None = None,
    spare: bool = False,
    notes: list[str] | None = None,
) -> dict[str, Value]:
    """The `tokenizer.*` keys that convert_hf_to_gguf would write for the files of a Hugging Face directory.

    `vocab_size` is the number of rows of the embedding: ids without a token get the placeholder [PADn]; with `spare`, tokens that
    have no row are left out. `space_prefix` is what a SentencePiece model says of `add_space_prefix` behind all other keys; None:
    what the files say, before them. `notes` gets what GGUF has no place for. Raises
    UnknownTokenizerModelError, UnknownPreTokenizerError, BrokenTokenizerFileError or BrokenVocabularyError.
    """
    said = [] if notes is None else notes
    tokenizer = parts.from_json(files, "tokenizer.json")
    if "tokenizer.model" not in files and not tokenizer:
        return {"tokenizer.ggml.model": Value.scalar(Kind.STRING, "no_vocab")}
    try:
        if "tokenizer.model" in files or spm.is_sentencepiece(tokenizer):
            return spm.metadata_of(files, tokenizer, vocab_size, space_prefix=space_prefix, spare=spare, notes=said)
        kind = parts.table(tokenizer.get("model"), "model").get("type")
        if kind != "BPE":
            raise UnknownTokenizerModelError(f"the model is {shown(kind)}", file="tokenizer.json")
        return bpe.metadata_of(files, tokenizer, vocab_size, said)
    except BrokenVocabularyError as error:
        raise error.at(file="tokenizer.model" if "tokenizer.model" in files else "tokenizer.json") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BrokenTokenizerFileError(f"{type(error).__name__}: {error}", file="tokenizer.json") from error
