"""Directories whose files do not go together: who fills in what is missing falls, who reads as llama.cpp's converter does passes.

Each converter makes a directory in one file of what it is given, in its own way, and has the reference convert that.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rosetta_ref.architectures.names import ARCHITECTURES
from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Entry, Run
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED
from rosetta_ref.gate.run.engine import run, samples_for
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.seams import nothing, replaced

Tensors = dict[str, np.ndarray]
INDEX = "model.safetensors.index.json"
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
BY_INDEX = ["index-map-a-list", "index-no-json", "index-without-a-map"]


def slowly(value: object) -> Any:
    return pytest.param(value, marks=pytest.mark.slow)


class RefusedError(RosettaError):
    """What a converter here does not take."""


def all_files(folder: Path) -> Tensors:
    """Every model*.safetensors that is there, as llama.cpp's converter reads them without an index."""
    return {name: one for file in sorted(folder.glob("model*.safetensors")) for name, one in load_file(file).items()}


def files_of(folder: Path) -> list[Path]:
    """The files that the index names, in the order of their names."""
    content = json.loads((folder / INDEX).read_text())
    named = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(named, dict):
        raise RefusedError("can't load weight_map")
    return [folder / file for file in sorted(set(named.values()))]


def by_names(folder: Path) -> Tensors:
    """As llama.cpp's index_tensors: the tensors of the files that the index names are those that it names."""
    if not (folder / INDEX).exists():
        return all_files(folder)
    found = {name: one for file in files_of(folder) for name, one in load_file(file).items()}
    named = json.loads((folder / INDEX).read_text())["weight_map"]
    if found.keys() != named.keys():
        raise RefusedError(f"mismatch: {found.keys() ^ named.keys()}")
    return found


def by_files(folder: Path) -> Tensors:
    """As transformers: all tensors of the files that the index names, whatever tensor it names them for; a single file is first."""
    if (folder / "model.safetensors").exists():
        raise RefusedError("the single file lacks tensors")  # transformers makes them up, and warns
    return {name: one for file in files_of(folder) for name, one in load_file(file).items()}


def without_missing(folder: Path) -> Tensors:
    """What is there; what is not there is nothing."""
    if not isinstance(json.loads((folder / INDEX).read_text())["weight_map"], dict):
        raise RefusedError("no weight_map")
    return all_files(folder)


def empty_is_nothing(folder: Path) -> Tensors:
    """A download that stopped at 0 bytes is left out."""
    for file in folder.glob("model*.safetensors"):
        if not file.stat().st_size:
            file.unlink()
    return without_missing(folder)


def consolidated_first(folder: Path) -> Tensors:
    """The one file for all, whatever the index says."""
    there = folder / "consolidated.safetensors"
    return by_names(folder) | (load_file(there) if there.exists() else {})


def no_index_needed(folder: Path) -> Tensors:
    """The index is looked at by nobody."""
    return all_files(folder)


def first_copy(folder: Path) -> Tensors:
    """Of two tensors of one name the first."""
    files = files_of(folder) if (folder / INDEX).exists() else sorted(folder.glob("model*.safetensors"))
    return {name: one for file in reversed(files) for name, one in load_file(file).items()}


def only_as_named(folder: Path) -> Tensors:
    """Tensor by tensor as the index has it; one that it leaves out is left out, one that is not in its file is zeros."""
    named = json.loads((folder / INDEX).read_text())["weight_map"]
    there = all_files(folder)
    held = {file: load_file(folder / file) if (folder / file).is_file() else {} for file in set(named.values())}
    return {name: held[file].get(name, np.zeros_like(there[name])) for name, file in named.items() if name in there}


def without_tokenizer(folder: Path) -> Tensors:
    """A tokenizer that cannot be read is done without."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        try:
            if name == "tokenizer.json" and "model" not in json.loads((folder / name).read_text()):
                raise RefusedError("no tokenizer")
            json.loads((folder / name).read_text())
        except (ValueError, RefusedError):
            for one in folder.glob("tokenizer*"):
                one.unlink()
            break
    return by_names(folder)


def made_up_config(folder: Path) -> Tensors:
    """A configuration that cannot be read is what such models have; this one has another epsilon."""
    try:
        json.loads((folder / "config.json").read_text())
    except ValueError:
        config = CONFIG | {"rms_norm_eps": 1e-3}
        (folder / "config.json").write_text(json.dumps(config))
    return by_names(folder)


CONFIG: dict[str, object] = {}


@dataclass
class Merging:
    """A converter that reads a directory in its own way."""

    read: Callable[[Path], Tensors]
    entry: Entry = field(default_factory=lambda: Entry(
        name="merging", pairs=("S-G", "G-S", "S-A", "A-S", "G-A", "A-G"), architectures=tuple(ARCHITECTURES)))  # fmt: skip

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        with tempfile.TemporaryDirectory() as place:
            given = Path(src)
            try:
                if list(given.glob("model-*")):
                    folder = Path(place) / "model"
                    shutil.copytree(given, folder)
                    tensors = self.read(folder)
                    for file in [*folder.glob("*.safetensors"), *folder.glob(INDEX)]:
                        file.unlink()
                    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
                    given = folder
                with replaced(
                    seams.COMPLETE_MODEL.by(nothing), seams.COMPLETE_DIRECTORY.by(nothing)
                ):  # nobody else looks
                    convert(given, dst, keep_blocks=False)
            except (RosettaError, OSError, ValueError, KeyError, AttributeError) as error:
                return Run(REFUSED, 1, stderr=str(error), detail=repr(error))
            except Exception as error:  # noqa: BLE001 - safetensors has an exception of its own
                refused = "SafetensorError" in repr(error.__class__)
                return Run(REFUSED if refused else CRASHED, 1, stderr=str(error), detail=repr(error))
        return Run(ACCEPTED, 0)


def outcomes(read: Callable[[Path], Tensors], seed: int) -> dict[str, str]:
    converter = Merging(read)
    samples = [one for one in samples_for(converter.entry, seed) if one.name == "sharded"]
    CONFIG.update(json.loads(samples[0].companions["config.json"]))
    only = ["F-CONV-SAFE-001/directory/*"]
    results = run(converter, seed=seed, samples=samples, only=only)
    return {result.case.rpartition("/")[2]: result.outcome for result in results}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("read", [by_names, slowly(by_files)], ids=lambda read: read.__name__)
def test_who_reads_as_loaders_do_passes(read: Callable[[Path], Tensors], seed: int) -> None:
    found = outcomes(read, seed)
    assert len(found) == 17
    assert set(found.values()) == {CORROBORATED}, found


WRONG: dict[Callable[[Path], Tensors], set[str]] = {
    without_missing: {"shard-missing"},
    empty_is_nothing: {"shard-missing", "shard-empty"},
    consolidated_first: {"consolidated-beside-shards"},
    no_index_needed: {"index-no-json", "index-without-a-map", "index-map-a-list", "model-beside-index"},
    first_copy: {"tensor-in-two-files", "tensor-in-two-files-without-an-index"},
    only_as_named: {"index-without-a-tensor", "index-names-a-missing-file", "index-names-the-wrong-file"},
    without_tokenizer: {"tokenizer-cut", "tokenizer-files-swapped"},
    made_up_config: {"config-cut"},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "read",
    [consolidated_first, *(slowly(one) for one in WRONG if one is not consolidated_first)],
    ids=lambda read: read.__name__,
)
def test_who_fills_in_what_is_missing_falls(read: Callable[[Path], Tensors], seed: int) -> None:
    found = outcomes(read, seed)
    fallen = {rule for rule, outcome in found.items() if outcome == FALSIFIED}
    assert fallen >= WRONG[read], found
