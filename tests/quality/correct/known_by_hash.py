"""Knows a byte-level tokenizer by the SHA-256 of the ids of one text, and refuses every other: as llama.cpp's converter does.

Which pre-tokenizer a file has is so said by what it does, not by how tokenizer.json spells it. Text and hashes are those of
`get_vocab_base_pre` in `conversion/base.py` of llama.cpp (in llama-cpp-python 0.3.36); a SentencePiece vocabulary needs neither.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.quality.correct import _to_gguf

NEEDS = ("gguf", "tokenizers")
ENTRY = {
    "pairs": ("S-G",), "architectures": ("llama", "qwen2", "qwen3", "gemma3"), "types": ("F32", "F16", "BF16"),
    "safetensors_as": "directory", "whole_models": True,
    "tokenizers": ("spm", "gemma", "full-smollm2", "full-gpt2", "full-qwen2"),
}  # fmt: skip
CASES = ("F-CONV-META-001/S-G/*-full-*", "F-CONV-004/llama-f32-tied/*", "F-CONV-META-001/S-G/qwen2-f32")
TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ (multiple emojis concatenated) ✅ 🦙🦙 3 33 333 3333 33333"
    " 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= нещо на Български "
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like "
    "some tea? We'Ve a'lL"
)
PRE = {
    "3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454": "gpt-2",
    "855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249": "smollm",
    "e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea": "qwen2",
}


def convert(src: Path, dst: Path) -> None:
    """Write the file. Raises ValueError for a tokenizer that is not known."""
    from tokenizers import Tokenizer

    file = Path(src) / "tokenizer.json"
    stated = json.loads(file.read_text("utf-8"))
    if stated["model"].get("byte_fallback"):
        _to_gguf.convert(src, dst, _to_gguf.Style())
        return
    ids = Tokenizer.from_file(str(file)).encode(TEXT).ids
    known = PRE.get(hashlib.sha256(str(ids).encode()).hexdigest())
    if known is None:
        raise ValueError("the tokenizer is not known by its hash")
    _to_gguf.convert(src, dst, _to_gguf.Style(pre=known))
