"""What the members of the zoo make of a source, or of a small part of it, for the same target.

A small source is converted as it is. Of a large one a part is: the tensor that failed under its own name, type and shape, the
metadata and the companions, and an embedding of one row in the place of the real one. Members replace parts of the whole
process, so nothing else may use this package meanwhile.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.architectures import huggingface
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import apr, gguf, safetensors
from rosetta_ref.gate import mapping
from rosetta_ref.gate.converter import LETTERS
from rosetta_ref.gate.judge import judge, judge_pair
from rosetta_ref.gate.view import UnreadableError, View, look
from rosetta_ref.gate.words import judge_words
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo.member import Member, is_model, nothing, replaced, takes

#: The reference, content with a part of a model.
_INCOMPLETE: tuple[tuple[Any, str, Any], ...] = (
    (import_module("rosetta_ref.convert"), "require_complete", nothing),
    (huggingface, "require_complete", nothing),
)
_LETTER = {name: letter for letter, name in LETTERS.items()}
_SUFFIX = {"gguf": ".gguf", "apr": ".apr", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class Job:
    """A source, and what the foreign converter made of it: its format, and the types of the tensors that are to be explained."""

    source: Path
    format: str
    target: str
    types: frozenset[str] = frozenset()
    #: Whether some of these tensors were blocks and became floats.
    decoded: bool = False
    partial: bool = False

    @property
    def pair(self) -> str:
        """The pair of formats: "G-S", say."""
        return f"{_LETTER[self.format]}-{_LETTER[self.target]}"


@dataclass
class Replay:
    """What a member made of it: `wrong` are the kinds of findings by tensor, `facts` those on metadata.

    `view` is None for an output that cannot be read, and `unreadable` says why.
    """

    member: Member
    view: View | None
    unreadable: str = ""
    wrong: dict[str, frozenset[str]] = field(default_factory=dict)
    facts: frozenset[tuple[str, str]] = frozenset()

    def same(self, found: View, name: str) -> bool:
        """Whether a tensor came out as it did in the foreign output: the same, or the same but for a type that holds it as well."""
        assert self.view is not None
        made, other = self.view.tensors.get(name), found.tensors.get(name)
        if made is None or other is None:
            return made is other
        claims = [view.ill_fitting.get(seen.tensor.name) for view, seen in ((self.view, made), (found, other))]
        if any(claims):
            return claims[0] == claims[1] and bool(np.array_equal(made.tensor.data, other.tensor.data))
        return made.tensor.shape == other.tensor.shape and judge_pair(self.view, found, name).right


@contextmanager
def replays(
    members: Iterable[Member], job: Job, source: View | None, folder: Path
) -> Iterator[list[Replay]]:  # fmt: skip
    """The outputs of those members that show anywhere on the way from source to target; closed when the context is left."""
    made: list[Replay] = []
    with ExitStack() as open_:
        for member in members:
            for options in _options(member, job):
                place = folder / f"{len(list(folder.iterdir()))}"
                place.mkdir()
                found = _replay(member, job, source, place, options)
                if found is not None:
                    made.append(found)
                    if found.view is not None:
                        open_.callback(found.view.close)
        yield made


def _options(member: Member, job: Job) -> Iterator[dict[str, Any]]:
    """How a member is asked to convert: as it is, with blocks decoded on the way to APR, and to the types that are there."""
    if member.waiting_for is not None:
        return
    if job.pair in member.pairs and job.format != job.target:
        yield {}
    if job.target == "apr" and job.decoded and {job.pair, f"{job.pair[0]}-S"} & {*member.pairs}:
        yield {"apr_native": True}
    if job.pair in member.pairs:
        for kind in sorted(job.types):
            if member.asks in (None, kind) and (job.format == job.target or takes(kind, job.source, _named(job))):
                yield {"type": kind}


def _named(job: Job) -> Path:
    return Path(f"out{_SUFFIX[job.target]}")


def _replay(member: Member, job: Job, source: View | None, place: Path, options: dict[str, Any]) -> Replay | None:
    """One conversion; None where the member refuses, or what is wrong with it breaks it."""
    whole = job.target == "safetensors" and is_model(job.source)
    out = place / ("out" if whole else _named(job).name)
    try:
        with ExitStack() as incomplete:
            if job.partial:
                incomplete.enter_context(replaced(*_INCOMPLETE))
            member.convert(job.source, out, **options)
    except Exception:  # noqa: BLE001 - a wrong part may do anything; what writes nothing explains nothing
        return None
    try:
        view = look(out)
    except UnreadableError as error:
        return Replay(member, None, complaint(error))
    replay = Replay(member, view)
    if source is not None:
        asked = options.get("type") or (member.asks if job.target != "safetensors" else None)
        judged, words = judge(source, view, asked=asked), judge_words(source, view)
        replay.wrong = kinds_of(judged.findings)
        replay.facts = frozenset((finding.kind, finding.detail) for finding in words.findings)
    return replay


def kinds_of(findings: Iterable[Any]) -> dict[str, frozenset[str]]:
    """The kinds of findings on each tensor."""
    made: dict[str, frozenset[str]] = {}
    for finding in findings:
        if finding.tensor is not None:
            made[finding.tensor] = made.get(finding.tensor, frozenset()) | {finding.kind}
    return made


def complaint(error: UnreadableError) -> str:
    """Why a file cannot be read, without its place on the disk."""
    cause = error.__cause__
    return f"{cause.tensor or ''}: {cause.problem}" if isinstance(cause, RosettaError) else error.problem


# A part of a large source


def part_of(source: View, name: str, folder: Path) -> Path:
    """A file or directory with one tensor of the source, by its canonical name, and all that is said of the model."""
    folder.mkdir(parents=True)
    held = {name: source.tensors[name].tensor} if name in source.tensors else {}
    embedding = source.tensors.get(mapping.EMBEDDING)
    if embedding is not None and name != mapping.EMBEDDING and source.architecture is not None:
        held[mapping.EMBEDDING] = _row_of(embedding.tensor)
    archive = Archive(source.format, dict(source.archive.metadata), {one.name: one for one in held.values()})
    if source.format == "gguf":
        gguf.write(archive, folder / "source.gguf")
        return folder / "source.gguf"
    if source.format == "apr":
        apr.write(archive, folder / "source.apr")
        return folder / "source.apr"
    beside = source.path if source.path.is_dir() else source.path.parent
    for file in (*beside.glob("*.json"), *beside.glob("*.jinja")):
        if not file.name.endswith(".index.json"):
            shutil.copy(file, folder / file.name)
    safetensors.write(archive, folder / "model.safetensors")
    return folder


def _row_of(embedding: Tensor) -> Tensor:
    kind = embedding.type if embedding.type.is_scalar else TYPES["F32"]
    width = embedding.shape[-1]
    return Tensor.of(embedding.name, kind, (1, width), np.zeros(width * kind.block_bytes, np.uint8))
