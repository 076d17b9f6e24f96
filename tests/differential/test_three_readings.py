"""The three readings of each architecture, held against each other and against gguf-py's name maps.

The converter (`architectures/models`), the judge (`gate/judge/models`) and the forward pass (`inference/models`) share no code and
were typed from different sources, so that a slip in one of them shows here. A module is found by being there; where a reading does
not know an architecture, the test of the folders says so.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gguf
import pytest

from rosetta_ref.architectures.transforms import PermuteRows, PlusOne

#: What is no architecture in GGUF's words for a role: of other models of that name, or of older files.
_OF_OTHERS = (
    "exps",
    "ffn_gate_inp",
    "rot_embd",
    "rope_freqs",
    "shexp",
    "rope_factors",
    "chexps",
    "cls",
    "dense",
    "shortconv",
)


@dataclass(frozen=True)
class Part:
    """A role as all three can say it: `{}` is the number of the layer; `turned` that its rows differ between the two formats."""

    theirs: str
    shape: str
    turned: bool
    plus_one: bool


Parts = dict[str, Part]


def of_converter(model: Any) -> Parts:
    found = {}
    for prefix, theirs, roles in (("", "", model.once), ("blk.{}.", "model.layers.{}.", model.layer)):
        for role in roles:
            steps = {type(step) for step in role.transforms}
            found[prefix + role.gguf] = Part(theirs + role.hf, role.shape, PermuteRows in steps, PlusOne in steps)
    return found


def of_judge(model: Any) -> Parts:
    found = {}
    for prefix, theirs, roles in (("", "", model.whole), ("blk.{}.", "model.layers.{}.", model.layer)):
        for role in roles:
            turned = role.rotated and role.is_matrix and model.pairs
            found[prefix + role.gguf] = Part(theirs + role.hugging_face, role.shape, turned, bool(role.plus))
    return found


def of_forward_pass(model: Any) -> Parts:
    return {
        role.gguf: Part(
            role.hugging_face,
            role.shape.replace("H", "D"),  # its letter for the elements of a head
            role.turned and model.pairing == "adjacent pairs",
            role.plus_one,
        )
        for role in model.weights
        if role.hugging_face  # factors of rope are no weight of Hugging Face's
    }


READERS = {
    "rosetta_ref.architectures.models": of_converter,
    "rosetta_ref.gate.judge.models": of_judge,
    "rosetta_ref.inference.models": of_forward_pass,
}


def records(folder: str) -> dict[str, Any]:
    package = import_module(folder)
    found = (import_module(f"{folder}.{module.name}").MODEL for module in pkgutil.iter_modules(package.__path__))
    return {model.name: model for model in found}


RECORDS = {folder: records(folder) for folder in READERS}
NAMES = sorted({name for found in RECORDS.values() for name in found})
CONVERTER, JUDGE, FORWARD = RECORDS


def test_every_architecture_is_read_three_times() -> None:
    assert len(NAMES) >= 4
    for folder, found in RECORDS.items():
        assert sorted(found) == NAMES, folder


def test_the_readings_share_nothing() -> None:
    for folder, found in RECORDS.items():
        others = [type(model) for other, models in RECORDS.items() if other != folder for model in models.values()]
        assert not any(isinstance(model, tuple(others)) for model in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_the_same(name: str) -> None:
    """Names on both sides, shapes, rows that are turned, and norms of 1 + w."""
    converter, judge, forward = (reader(RECORDS[folder][name]) for folder, reader in READERS.items())
    assert len(converter) >= 12
    assert judge == converter
    assert forward == converter


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_gguf_py(name: str) -> None:
    architecture = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == name)
    layers = 3
    table = gguf.get_tensor_name_map(architecture, layers)
    parts = of_converter(RECORDS[CONVERTER][name])
    for ours, part in parts.items():
        for layer in range(layers) if "{}" in ours else (0,):
            assert table.get_name(part.theirs.format(layer)) == ours.format(layer)
    known = {gguf.TENSOR_NAMES[tensor].replace("{bid}", "{}") for tensor in gguf.MODEL_TENSORS[architecture]}
    assert {one for one in known if not any(word in one for word in _OF_OTHERS)} == parts.keys()


@pytest.mark.parametrize("name", NAMES)
def test_classes_numbers_and_biases_are_the_same(name: str) -> None:
    converter, judge, forward = (found[name] for found in RECORDS.values())
    assert judge.hugging_face == converter.classes[0]
    assert judge.model_type == converter.model_types[0]
    words = {word.lower() for word in (*converter.classes, *converter.model_types, *converter.apr_words)}
    # The text model stands for the one with images, which has a class of its own and the same words otherwise.
    assert {word for word in words if "conditional" not in word} == set(forward.words)
    always = {role.gguf for role in converter.layer if role.bias == "always"}
    assert always == {role.gguf for role in judge.layer if role.biased == "always"}
    rows = {row.gguf: (row.config, row.apr) for row in converter.numbers}
    for row in judge.numbers:
        if row.gguf in rows and row.hugging_face != "head_dim":  # APR's head_dim has a rule of its own
            assert (row.hugging_face, row.apr) == rows[row.gguf]
    for ours, theirs, apr in forward.numbers.values():
        if theirs != "head_dim":
            assert rows[ours] == (theirs, apr)
    for ours, apr in forward.apr.items():
        assert rows[ours][1] == apr


@pytest.mark.parametrize("name", NAMES)
def test_silence_means_the_same(name: str) -> None:
    """What holds where config.json leaves a number out, of those that the converter takes without."""
    converter, forward = RECORDS[CONVERTER][name], RECORDS[FORWARD][name]
    defaults = {
        row.config: row.default for row in converter.numbers if row.default is not None and "rope" not in row.flags
    }
    assert defaults
    assert defaults == {key: forward.config[key] for key in defaults}
    assert bool(forward.tied) == converter.tied


@pytest.mark.parametrize("name", NAMES)
def test_apr_is_the_same(name: str) -> None:
    """Whose names APR files have, and in what order the rows of q and k stand in them."""
    converter, judge = RECORDS[CONVERTER][name], RECORDS[JUDGE][name]
    assert judge.apr_theirs == converter.apr_hf
    assert judge.apr_rope_type == {"NORM": 0, "NEOX": 2}[converter.rope]
