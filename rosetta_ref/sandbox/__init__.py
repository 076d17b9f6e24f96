"""Tokenizers and chat templates of strangers, in a process of their own with limits of time and memory.

A chat template is a program, and a tokenizer.json nearly one: both may run without end, take all of the memory, or end the process
that they are in. So neither is touched in this one. `program` is what runs in the other process: it knows nothing of this package
and imports nothing but Python's own library, `tokenizers` and Jinja, so that it starts in some 20 ms. `process` starts it, asks it,
and ends it; `asked` is what callers use.

    sandbox.tokenizers_refuses(data)                # why the library does not take a tokenizer.json; None where it does
    sandbox.Tokenizer(data).encode(["a text"])      # [[64, 2083]]
    sandbox.render(template, "What is 2+2?", {})    # a user's message through a chat template

Limits: the rows `template-...` of `rosetta_ref.limits`. Time is limited everywhere; memory where the system does it (RLIMIT_AS on
Linux and the BSDs, neither on macOS nor on Windows).
"""

from rosetta_ref.sandbox.asked import RefusedError, Template, Tokenizer, render, tokenizers_refuses
from rosetta_ref.sandbox.process import MissingLibraryError, OverLimitError, SandboxError

__all__ = [
    "MissingLibraryError",
    "OverLimitError",
    "RefusedError",
    "SandboxError",
    "Template",
    "Tokenizer",
    "render",
    "tokenizers_refuses",
]
