"""What a sample may be claimed by, besides its types and architecture: the names of tokenizers and of rope scalings."""

from __future__ import annotations

from collections.abc import Collection

#: Small vocabularies that were made for the samples, and full ones of published models (`vocabularies`).
SMALL = ("smollm", "qwen2", "spm", "gemma")
FULL = ("full-smollm2", "full-gpt2", "full-qwen2")
TOKENIZERS = (*SMALL, *FULL)
ROPE_SCALINGS = ("yarn", "llama3")
#: What stands in for a tokenizer that a converter does not take: the nearest one first.
_INSTEAD = {
    "smollm": ("smollm", "qwen2", "spm"),
    "qwen2": ("qwen2", "smollm", "spm"),
    "spm": ("spm", "smollm", "qwen2"),
    "gemma": ("gemma", "spm"),
}


def instead(own: str, taken: Collection[str] | None) -> str | None:
    """The small tokenizer of a sample that has `own`, for a converter that takes those (None: all); None where it takes none.

    >>> instead("smollm", ("spm", "full-smollm2"))
    'spm'
    >>> instead("smollm", None)
    'smollm'
    """
    if taken is None or own in taken:
        return own
    return next((name for name in _INSTEAD.get(own, ()) if name in taken), None)
