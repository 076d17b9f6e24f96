"""The judge's records of architectures against gguf-py's tables, and against golden directories that others converted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES, Keys
from gguf.tensor_mapping import get_tensor_name_map
from safetensors import deserialize

import rosetta_ref.gate.judge.models as folder
from rosetta_ref.archive import Tensor
from rosetta_ref.formats import gguf
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.gate.judge.claims import config_of
from rosetta_ref.gate.judge.config import modern
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.model import Model
from rosetta_ref.gate.judge.models import MODELS
from rosetta_ref.gate.judge.tensors import judge
from rosetta_ref.gate.judge.view import UnreadableError, look
from rosetta_ref.quant import TYPES

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
            assert {finding.kind for finding in words} == ({*NO_TOKENIZER} if bare else set())


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


# A text model inside of one that takes images

Stored = dict[str, dict[str, Any]]
OUTER = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {}}


def stored(path: Path) -> Stored:
    """The tensors of a file as the library reads them."""
    return dict(deserialize(path.read_bytes()))


def store(tensors: Stored, path: Path) -> None:
    """By hand: NumPy has no BF16, and what the library takes for it changes."""
    header, data = {}, b""
    for name, one in tensors.items():
        header[name] = {**one, "data_offsets": [len(data), len(data) + len(one["data"])]}
        del header[name]["data"]
        data += one["data"]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def with_images(folder: Path, names: dict[str, str], tower: str, **outer: Any) -> Path:
    """The golden gemma3 as a part of another model: stems of names by what they are alone, and a tensor of the other part."""
    made = folder / "images"
    shutil.copytree(GOLDEN / "gemma3" / "hf", made)
    inner = json.loads((made / "config.json").read_bytes())
    del inner["architectures"]
    (made / "config.json").write_text(json.dumps({**OUTER, "text_config": inner, **outer}))
    tensors = {
        next(prefix + name.removeprefix(alone) for alone, prefix in names.items() if name.startswith(alone)): values
        for name, values in stored(made / "model.safetensors").items()
    }
    tensors[tower] = {"dtype": "F32", "shape": [3], "data": np.ones(3, np.float32).tobytes()}
    store(tensors, made / "model.safetensors")
    return made


#: What is said of a directory without a tokenizer.json.
NO_TOKENIZER = ("tokenizer-lost", "words-lost")
#: transformers before 4.52, and since then.
NESTED = {
    "old": ({"model.": "language_model.model.", "lm_head.": "language_model.lm_head."}, "vision_tower.head.weight"),
    "new": ({"model.": "model.language_model."}, "model.vision_tower.head.weight"),
    "projector": ({"model.": "model.language_model."}, "model.multi_modal_projector.mm_soft_emb_norm.weight"),
}


@pytest.mark.parametrize("form", NESTED)
def test_nothing_is_said_of_a_text_model_inside_of_another(form: str, tmp_path: Path) -> None:
    """Against what llama.cpp's converter made of the same text model."""
    made = with_images(tmp_path, *NESTED[form])
    with look(made) as source, look(GOLDEN / "gemma3" / "auto.gguf") as target:
        assert (source.architecture, len(source.tensors)) == ("gemma3", 80)
        for one, other in ((source, target), (target, source)):
            found, facts = judge(one, other), judge_metadata(one, other)
            assert found.findings == []
            assert {each.kind for each in facts.findings} == ({*NO_TOKENIZER} if other is source else set())
            assert (len(found.elements), facts.compared > 20) == (80, True)


def test_what_is_wrong_with_a_text_model_inside_of_another_is_seen(tmp_path: Path) -> None:
    made = with_images(tmp_path, *NESTED["old"])
    said = json.loads((made / "config.json").read_bytes())
    said["text_config"]["hidden_size"] += 1
    said["eos_token_id"] = said["text_config"]["eos_token_id"] + 1  # of ids, those outside count
    (made / "config.json").write_text(json.dumps(said))
    tensors = stored(made / "model.safetensors")
    del tensors["language_model.model.layers.0.mlp.up_proj.weight"]
    store(tensors, made / "model.safetensors")
    with look(GOLDEN / "gemma3" / "auto.gguf") as source, look(made) as target:
        assert {(found.kind, found.tensor) for found in judge(source, target).findings} == {
            ("lost", "blk.0.ffn_up.weight")
        }
        facts = [found for found in judge_metadata(source, target).findings if found.kind not in NO_TOKENIZER]
        assert sorted(found.kind for found in facts) == ["number-wrong", "words-wrong"]


def test_parts_that_belong_to_no_text_model_are_invented_in_gguf(tmp_path: Path) -> None:
    """llama.cpp refuses a file with tensors that it does not ask for."""
    made = with_images(tmp_path, *NESTED["old"])
    with gguf.read(GOLDEN / "gemma3" / "auto.gguf") as golden:
        tower = Tensor.of("vision_tower.head.weight", TYPES["F32"], (3,), np.ones(3, np.float32))
        gguf.write(replace(golden, tensors={**golden.tensors, tower.name: tower}), tmp_path / "with.gguf")
    with look(made) as source, look(tmp_path / "with.gguf") as target:
        assert [found.kind for found in judge(source, target).findings] == ["invented"]


@pytest.mark.parametrize("inner", [None, [], "x", 1])
def test_a_text_model_that_is_no_table_is_unreadable(inner: Any, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="text_config"):
        look(with_images(tmp_path, *NESTED["old"], text_config=inner))


def test_names_inside_of_another_model_are_foreign_to_one_that_stands_alone(tmp_path: Path) -> None:
    made = with_images(tmp_path, *NESTED["old"], architectures=["Gemma3ForCausalLM"], model_type="gemma3_text")
    with look(GOLDEN / "gemma3" / "auto.gguf") as source, look(made) as target:
        assert {found.kind for found in judge(source, target).findings} == {"foreign-name"}
