"""The judge's records of architectures against gguf-py's tables, and against golden directories that others converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES, Keys
from gguf.tensor_mapping import get_tensor_name_map

import rosetta_ref.gate.judge.models as folder
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate.judge.claims import config_of
from rosetta_ref.gate.judge.config import modern
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.model import Model
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.gate.judge.tensors import judge
from rosetta_ref.gate.judge.view import look

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "architectures"
FOLDERS = sorted(path.name for path in GOLDEN.iterdir() if path.name in MODELS) if GOLDEN.is_dir() else []
ARCHITECTURES = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}
#: Tensors of gguf-py's lists that a model of the kind that is judged here does not have: experts, tables of old files.
ELSEWHERE = {"rope_freqs", "attn_rot_embd", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}
GROUPS = [group for group in vars(Keys).values() if isinstance(group, type)]
KEYS = {value for group in GROUPS for value in vars(group).values() if isinstance(value, str)}


def test_every_module_is_a_record_of_its_name() -> None:
    files = {path.stem for path in Path(str(folder.__file__)).parent.glob("*.py")} - {"__init__"}
    assert {*MODELS} == files >= {"llama", "qwen2", "qwen3", "gemma3"}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_names_are_those_of_gguf_py(model: Model) -> None:
    arch: MODEL_ARCH = ARCHITECTURES[model.name]
    names = get_tensor_name_map(arch, 1)
    roles = [*model.whole, *model.layer]
    for role in model.whole:
        assert names.get_name(role.hugging_face) == role.gguf
    for role in model.layer:
        assert names.get_name(f"model.layers.0.{role.hugging_face}") == f"blk.0.{role.gguf}"
    theirs = {TENSOR_NAMES[tensor].removeprefix("blk.{bid}.") for tensor in MODEL_TENSORS[arch]}
    assert {role.gguf for role in roles} == theirs - ELSEWHERE
    assert len({role.hugging_face for role in roles}) == len(roles)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_keys_are_those_of_gguf_py(model: Model) -> None:
    for row in model.numbers:
        assert "{arch}." + row.gguf in KEYS
    assert {*model.head_keys, *model.example} <= {value.removeprefix("{arch}.") for value in KEYS}
    assert len(set(model.numbers)) == len(model.numbers)


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_is_said_of_a_golden_directory(name: str) -> None:
    """What llama.cpp's converter made of what transformers wrote, in both directions. A directory may be without tokenizer.json."""
    with look(GOLDEN / name / "hf") as theirs, look(GOLDEN / name / "auto.gguf") as ours:
        assert ours.architecture == theirs.architecture == name
        for source, target in ((theirs, ours), (ours, theirs)):
            judged = judge(source, target)
            assert not judged.findings
            assert judged.elements == judged.expected
            words = judge_metadata(source, target).findings
            bare = not (GOLDEN / name / "hf" / "tokenizer.json").exists() and target is theirs
            assert {finding.kind for finding in words} == ({"tokenizer-lost", "words-lost"} if bare else set())


@pytest.mark.parametrize("spelled", ["config.json", "config.v4.json"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_configuration_is_what_transformers_writes(name: str, spelled: str) -> None:
    path = GOLDEN / name / ("hf/config.json" if spelled == "config.json" else spelled)
    theirs: dict[str, Any] = json.loads(path.read_text())
    with open_archive(GOLDEN / name / "auto.gguf") as archive:
        ours = config_of(archive.metadata, archive.tensors)
    ours = modern(ours) if spelled == "config.json" else ours
    assert ours == {key: theirs[key] for key in ours}
    assert len(ours) > 15
