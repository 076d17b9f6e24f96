"""What may stand where a file belongs: a link, a pipe, a folder, a file without end; and what a run may find at its target."""

from __future__ import annotations

import json
import random
from typing import Any

from rosetta_ref.campaigns.case import Folder, Link, Node, Pipe, Sparse
from rosetta_ref.campaigns.mutate import junk, trees

Files = dict[str, Node]
_COMPANIONS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json",
    "merges.txt",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json", "model.safetensors.index.json",
    "rosetta/source.json", "rosetta/blocks.safetensors", "additional_chat_templates/a.jinja",
    "vocab.txt", "tekken.json", "params.json", "spiece.model",
)  # fmt: skip
_STRANGERS = (
    "README.md",
    "conftest.py",
    "modeling_x.py",
    "LICENSE",
    ".gitattributes",
    "notes\n::error::x.json",
    "\u202ex.json",
)


def _up(name: str) -> str:
    """The way from a file's folder to the folder beside which `outside` lies."""
    return "../" * (name.count("/") + 1)


def _form(rng: random.Random, name: str) -> Node:
    return rng.choice((
        Link(f"{_up(name)}outside/victim.txt"), Link("/proc/self/cwd/../outside/victim.txt"), Link(name.rpartition("/")[2]),
        Link("/dev/zero"),
        Link("nowhere"), Link("/proc/self/mem"), Link("."), Pipe(), Folder(), Sparse(1 << 40), Sparse(300 << 20), b"",
    ))  # fmt: skip


def beside(rng: random.Random, files: Files, base: str) -> list[str]:
    """Change the form of a file of a folder, take one away, or add one that does not belong there."""
    draw = rng.random()
    there = [name for name in files if name.startswith(base)]
    if draw < 0.5:
        name = rng.choice(there) if rng.random() < 0.6 else base + rng.choice(_COMPANIONS)
        files[name] = _form(rng, name)
        return [f"files/{type(files[name]).__name__.lower()}"]
    if draw < 0.65 and len(there) > 1:
        del files[rng.choice(there)]
        return ["files/missing"]
    if draw < 0.85:
        files[base + rng.choice(_STRANGERS)] = b"import os\n"
        return ["files/stranger"]
    if draw < 0.93:
        for name in [name for name in there if name.startswith(f"{base}rosetta/")]:
            del files[name]
        files[f"{base}rosetta"] = Link(f"{_up(base + 'x')}outside/folder")
        return ["files/linked-folder"]
    name = rng.choice(there)  # as a cache of models has it: a link to a blob of the same tree
    files[f"{base}blob-of-it"] = files[name]
    files[name] = Link(f"{'../' * name[len(base) :].count('/')}blob-of-it")
    return ["files/blob"]


def odd(rng: random.Random, name: str) -> Files:
    """Now and then another form for a file."""
    return {name: _form(rng, name)} if rng.random() < 0.03 else {}


def before(rng: random.Random, files: Files, target: str) -> list[str]:
    """What is at the target already: files, what a killed run left, or what somebody planted."""
    draw, folder, name = rng.random(), target.rpartition("/")[0], target.rpartition("/")[2]
    if draw < 0.3:
        files[target if "." in name else f"{target}/model.safetensors"] = b"old"
        files[f"{folder}/config.json"] = b"{}"
        return ["target/there"]
    if draw < 0.7:
        return [_partial(rng, files, folder, name)]
    where = rng.choice(
        (
            target,
            f"{folder}/.{name}.partial",
            f"{folder}/sums.json",
            f"{folder}/config.json",
            f"{folder}/rosetta",
            f"{target}/rosetta",
        )
    )
    files[where] = (
        _form(rng, where) if rng.random() < 0.5 else Link(f"{_up(where)}outside/{rng.choice(('folder', 'victim.txt'))}")
    )
    return ["target/planted"]


def _partial(rng: random.Random, files: Files, folder: str, name: str) -> str:
    """The folder of a killed run, with a journal that names what it should not."""
    place = f"{folder}/.{name}.partial"
    record: Any = {
        "weights": name,
        "companions": [junk.name(rng), "config.json", "../../outside/victim.txt"][: rng.randrange(1, 4)],
    }
    text = trees.dumped(record) if rng.random() < 0.6 else trees.mutate(rng, json.dumps(record).encode())[0]
    files[f"{place}/PUBLISHING.json"] = text if rng.random() < 0.9 else _form(rng, f"{place}/PUBLISHING.json")
    files[f"{place}/{name}"] = b"half"
    files[f"{folder}/config.json"] = b"{}"
    return "target/partial"
