"""Tokenizers are compared by what they do: another cut of texts is seen under any name and in any spelling."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rosetta_ref.architectures import tokenizer
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED
from rosetta_ref.gate.run.engine import run
from rosetta_ref.zoo import Member, seams
from rosetta_ref.zoo.adapter import converter
from rosetta_ref.zoo.seams import replacing
from tests.quality.correct._to_directory import _QWEN2, _QWEN2_OTHERWISE

_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
Steps = list[dict[str, Any]]


def _cut(pattern: str) -> Steps:
    return [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, _LEVEL]


def _digits_together(steps: Steps) -> Steps:
    return [step | {"individual_digits": False} if step["type"] == "Digits" else step for step in steps]


def of_directories(change: Callable[[Steps], Steps]) -> Member:
    """A converter that writes other steps into tokenizer.json."""
    right = tokenizer.tokenizer_files

    def files(*args: Any) -> dict[str, bytes]:
        made = right(*args)
        content = json.loads(made["tokenizer.json"])
        content["pre_tokenizer"]["pretokenizers"] = change(content["pre_tokenizer"]["pretokenizers"])
        return made | {"tokenizer.json": json.dumps(content).encode()}

    return Member("other-steps", "metadata", "ours", "", "", "", ("G-S",), ("safetensors",),
                  replacing(seams.TOKENIZER_FILES.by(files)))  # fmt: skip


def of_gguf(name: str) -> Member:
    """A converter that writes another name into tokenizer.ggml.pre."""
    right, key = seams.GGUF_WRITE.right, "tokenizer.ggml.pre"

    def write(archive: Archive, *args: Any, **options: Any) -> None:
        right(
            replace(archive, metadata=dict(archive.metadata) | {key: Value.scalar(Kind.STRING, name)}), *args, **options
        )

    return Member(
        "other-name", "metadata", "ours", "", "", "", ("S-G",), ("gguf",), replacing(seams.GGUF_WRITE.by(write))
    )


SMOLLM, QWEN2 = "llama-f32-tied", "qwen2-f32"


@pytest.mark.parametrize(
    ("member", "case"),
    [
        (of_directories(lambda _: _cut(_QWEN2)), f"G-S/{SMOLLM}"),
        (of_directories(_digits_together), f"G-S/{SMOLLM}"),
        (of_gguf("llama-bpe"), f"S-G/{SMOLLM}"),
        (of_gguf("gpt-2"), f"S-G/{QWEN2}"),
    ],
    ids=["cut-as-qwen2", "digits-together", "named-llama-bpe", "named-gpt-2"],
)
def test_another_cut_is_seen(member: Member, case: str) -> None:
    pytest.importorskip("tokenizers")
    pytest.importorskip("llama_cpp")
    (result,) = run(converter(member), only=[f"F-CONV-META-001/{case}"])
    assert result.outcome == FALSIFIED
    assert {finding.kind for finding in result.findings} == {"words-wrong"}


def test_the_same_cut_in_other_words_is_right() -> None:
    pytest.importorskip("tokenizers")
    (result,) = run(converter(of_directories(lambda _: _cut(_QWEN2_OTHERWISE))), only=[f"F-CONV-META-001/G-S/{QWEN2}"])
    assert result.outcome == CORROBORATED, result.findings
