"""llama.cpp in a process of its own, once, before it reads a file in this one.

A file that this package's reader takes may still break an assertion of libllama, which then ends the process that it is in. So
another process does first what this one is about to: it loads the file, asks for the vocabulary, tokenizes the prompts and computes
a few tokens. Where it comes through, libllama may read the file here. (What breaks only behind more tokens would still end it.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rosetta_ref.inference.llamacpp import INSTALL, LlamaCpp, LlamaError
from rosetta_ref.inference.text import library

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from rosetta_ref.inference.trial import main; main()"
_TOKENS = 64
#: Seconds of the clock, and bytes of memory: so much, and more for each byte of the file.
_SECONDS, _BYTES_A_SECOND = 60, 20_000_000
_BYTES, _BYTES_A_BYTE = 2 << 30, 3
#: Exit code where llama.cpp refused the file by itself.
_REFUSED = 3


def require_alive(path: Path, texts: Sequence[str]) -> None:
    """Raise LlamaError where llama.cpp ends its process over the file; what it refuses by itself is for `LlamaCpp` to say."""
    library("llama_cpp.llama_cpp", INSTALL)
    size = path.stat().st_size
    asked = json.dumps({"path": str(path.resolve()), "texts": list(texts), "bytes": _BYTES + _BYTES_A_BYTE * size})
    command = [
        sys.executable,
        "-I",
        "-c",
        _START,
        json.dumps([str(Path(entry).resolve()) for entry in sys.path if entry]),
    ]
    try:
        done = subprocess.run(
            command, input=asked.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            timeout=_SECONDS + size / _BYTES_A_SECOND, env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LlamaError(f"llama.cpp takes more than {error.timeout:.0f} s to read it", file=path) from None
    if done.returncode not in (0, _REFUSED):
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-500:]
        raise LlamaError(f"llama.cpp ended its process with {done.returncode}: {said}", file=path)


def main() -> None:
    """In the other process: what is asked comes as JSON."""
    asked = json.load(sys.stdin)
    _limit(asked["bytes"])
    try:
        with LlamaCpp(asked["path"]) as engine:
            _ = engine.stops, engine.spelled()
            sequences = [engine.tokenize(text)[:_TOKENS] for text in asked["texts"]] if engine.has_text else [[0]]
            for _ in engine.logits([tokens or [0] for tokens in sequences[:1]]):
                pass
    except LlamaError:
        sys.exit(_REFUSED)


def _limit(nbytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (nbytes if hard == resource.RLIM_INFINITY else min(nbytes, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
