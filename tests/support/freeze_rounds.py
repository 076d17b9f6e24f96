"""Golden models once around through the three formats, both ways, and what options make of them: the sums of what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rosetta_ref
from tests.support.freeze_copyist import sums
from tests.support.freeze_words import ROOT, lines_of, plain, plain_json

GOLDEN = ROOT / "fixtures" / "golden"
#: The model that the package brings.
DEMO = ROOT / "rosetta_ref" / "demo" / "tiny.gguf"
#: What is recorded, by name: text as it is compared, or bytes.
Items = dict[str, str | bytes]

LETTERS = {".gguf": "G", ".apr": "A", "": "S"}
#: By letter, both ways around.
WAYS = {"G": ("ASG", "SAG"), "A": ("SGA", "GSA"), "S": ("GAS", "AGS")}
SUFFIXES = {letter: suffix for suffix, letter in LETTERS.items()}


def sources() -> list[Path]:
    """Every golden model, and the one that the package brings."""
    files = [path for path in GOLDEN.rglob("*") if path.suffix in (".gguf", ".apr")]
    return sorted([*files, *GOLDEN.rglob("hf"), DEMO])


def name_of(source: Path) -> str:
    """How the items of a model are called."""
    return source.relative_to(GOLDEN).as_posix() if source.is_relative_to(GOLDEN) else source.name


def around(source: Path, work: Path) -> Items:
    """Both ways around. Where a file is no model of a known architecture, the refusal, and then with its names kept."""
    made: Items = {}
    for way in WAYS[LETTERS[source.suffix]]:
        for keep_names in (False, True):
            folder = work / f"{way}{keep_names}"
            folder.mkdir()
            legs, whole = _legs(source, way, folder, keep_names=keep_names)
            made |= {f"round/{name_of(source)}/{name}": text for name, text in legs.items()}
            if whole:
                break
    return made


def _legs(source: Path, way: str, folder: Path, *, keep_names: bool) -> tuple[dict[str, str], bool]:
    """What each conversion writes, until one is refused; whether none was."""
    made, asked, here = {}, "-names" if keep_names else "", source
    for number, letter in enumerate(way, 1):
        name = f"{way[:number]}{asked}"
        target = folder / f"{number}" / f"model{SUFFIXES[letter]}"
        target.parent.mkdir()
        text, fine = converted(here, target, folder, keep_names=keep_names)
        made[name] = text
        if not fine:
            return made, False
        here = target
    return made, True


def converted(source: Path, target: Path, folder: Path, **options: Any) -> tuple[str, bool]:
    """The files of a conversion with their sums and its report, or the refusal; and whether it was none."""
    try:
        report = rosetta_ref.convert(source, target, durable=False, **options)
    except rosetta_ref.RosettaError as error:
        return plain(f"{type(error).__name__}: {error}\n"), False
    told = {key: value for key, value in report.to_json().items() if key not in ("source", "target", "seconds")}
    return lines_of(plain_json(json.dumps({"files": sums(target.parent), "report": told}))), True


#: What options make of a model, by name: the model, the suffix of the target, the options.
_LLAMA = GOLDEN / "convert-hf" / "llama-smollm-tied"
_MIX = GOLDEN / "apr-rosetta" / "source" / "llama-mix.gguf"
OPTIONS: dict[str, tuple[Path, str, dict[str, Any]]] = {
    "mix": (GOLDEN / "apr-rosetta" / "source" / "llama-f32.gguf", ".gguf", {"type": "Q4_K_M"}),
    "pure": (_LLAMA / "auto.gguf", ".gguf", {"type": "Q8_0", "pure": True}),
    "type-from-safetensors": (_LLAMA / "hf", ".apr", {"type": "Q8_0", "pure": True}),
    "dtype-f16": (_MIX, "", {"dtype": "f16"}),
    "dtype-bf16-one-file": (_MIX, ".safetensors", {"dtype": "bf16"}),
    "no-keep-blocks": (_MIX, "", {"keep_blocks": False}),
    "no-extra-keys": (_LLAMA / "hf", ".gguf", {"extra_keys": False}),
    "apr-native": (_MIX, ".apr", {"apr_native": True}),
    "shards": (_MIX, "", {"max_shard_size": 500_000}),
    "keep-names": (_MIX, "", {"keep_names": True}),
}


def by_option(work: Path) -> Items:
    """One conversion for each option."""
    made: Items = {}
    for name, (source, suffix, options) in OPTIONS.items():
        (work / name).mkdir()
        made[f"options/{name}"], _ = converted(source, work / name / f"model{suffix}", work, **options)
    return made
