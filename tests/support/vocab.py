"""llama.cpp's vocabulary files and published tokenizer cases, from the source package of llama-cpp-python.

They are too big to be kept here: the package (77 MB) is fetched once through pip, and `vendor/llama.cpp/models/ggml-vocab-*` is kept in
the cache of `tests.support.smollm`. Without a network the tests that need them are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.support.smollm import cache, locked

VERSION = "0.3.36"
#: Building nothing, yet pip asks the package for its metadata, and that asks for its build backend.
BACKEND = "scikit-build-core>=0.9"
SEPARATOR = "\n__ggml_vocab_test__\n"
_TIMEOUT = 600


def folder() -> Path:
    """The directory of ggml-vocab-*.gguf, .inp and .out; skips the test where it cannot be had."""
    target = cache() / f"ggml-vocab-{VERSION}"
    if target.is_dir():
        return target
    with locked(target.name):
        if not target.is_dir():
            _fetch(target)
    return target


def vocab(name: str) -> Path:
    """The vocabulary file of that name: llama-bpe, llama-spm, qwen2, gpt-2 and others."""
    return folder() / f"ggml-vocab-{name}.gguf"


def published(name: str) -> list[tuple[str, list[int]]]:
    """The published cases of a vocabulary: a text and its ids, without BOS and EOS."""
    base = folder() / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{base}.inp").read_bytes().decode().split(SEPARATOR)[:-1]  # each text is followed by one
    rows = Path(f"{base}.out").read_text(encoding="utf-8").splitlines()
    ids = [[int(word) for word in row.split()] for row in rows]
    return list(zip(texts, ids, strict=True))


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        work = Path(name)
        archive = _download(work)
        out = work / "out"
        out.mkdir()
        with tarfile.open(archive) as tar:
            for member in tar:
                if "/llama.cpp/models/ggml-vocab-" in member.name and member.isfile():
                    source = tar.extractfile(member)
                    assert source is not None
                    with source, (out / Path(member.name).name).open("wb") as file:
                        shutil.copyfileobj(source, file)
        out.rename(target)


def _download(work: Path) -> Path:
    backend = work / "backend"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    fetch = ["download", "--no-binary", "llama-cpp-python", "--no-deps", "--no-build-isolation", "-d", str(work)]
    path = os.pathsep.join(filter(None, [str(backend), os.environ.get("PYTHONPATH")]))
    try:
        _run([*pip, "install", "--target", str(backend), BACKEND], None)
        _run([*pip, *fetch, f"llama-cpp-python=={VERSION}"], {**os.environ, "PYTHONPATH": path})
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"the source package of llama-cpp-python cannot be fetched through pip: {said[-300:]}")
    return next(work.glob("llama_cpp_python-*.tar.gz"))


def _run(command: list[str], environment: dict[str, str] | None) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT, env=environment)
