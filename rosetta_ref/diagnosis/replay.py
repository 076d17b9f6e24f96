"""What the members of the zoo make of a source, or of a small part of it, for the same target.

A small source is converted as it is. Of a large one a part is: the tensor that failed under its own name, type and shape, the
metadata and the companions, and an embedding of one row in the place of the real one. Members replace parts of the whole
process, so nothing else may use this package meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.beside import read_beside
from rosetta_ref.convert.companions import present
from rosetta_ref.diagnosis import structural
from rosetta_ref.diagnosis.evidence import honest, nearer
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.registry import of
from rosetta_ref.gate.judge import mapping
from rosetta_ref.gate.judge.metadata import judge_metadata
from rosetta_ref.gate.judge.tensors import Judged, judge, judge_pair
from rosetta_ref.gate.judge.view import UnreadableError, View, look
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import seams
from rosetta_ref.zoo.member import Member, is_model, takes, unchecked
from rosetta_ref.zoo.seams import nothing, replaced


def _stated_vocabulary(config: Mapping[str, Any], tensors: Mapping[str, Tensor], width: int) -> int:
    return int(config.get("vocab_size") or tensors["token_embd.weight"].shape[0])


#: The reference, content with a part of a model.
_INCOMPLETE = (
    seams.COMPLETE_MODEL.by(nothing),
    seams.COMPLETE_DIRECTORY.by(nothing),
    seams.VOCABULARY_OF.by(_stated_vocabulary),
)
_LETTER = {name: letter for letter, name in LETTERS.items()}


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
    #: Whether facts of the metadata are to be explained.
    words: bool = True

    @property
    def pair(self) -> str:
        """The pair of formats: "G-S", say."""
        return f"{_LETTER[self.format]}-{_LETTER[self.target]}"


@dataclass
class Replay:
    """What a member made of it. `changed` are the tensors that the reference makes otherwise, `facts` what it broke of the words.

    `view` is None for an output that cannot be read, and `unreadable` says why.
    """

    member: Member
    view: View | None
    unreadable: str = ""
    changed: frozenset[str] = frozenset()
    facts: frozenset[tuple[str, str]] = frozenset()

    def close(self) -> None:
        """Give up the output."""
        if self.view is not None:
            self.view.close()

    def same(self, found: View, name: str, source: View | None = None) -> bool:
        """Whether a tensor came out as it did in the foreign output: the same, or the same but for a type that holds it as well.

        Where a `source` is there to be compared with, blocks may also be an encoding of it that is far from one of the source.
        """
        assert self.view is not None
        made, other = self.view.tensors.get(name), found.tensors.get(name)
        if made is None or other is None:
            return made is other
        if _equal(self.view, found, name):
            return True
        if self.view.ill_fitting.get(made.tensor.name) or found.ill_fitting.get(other.tensor.name):
            return False
        if made.tensor.shape != other.tensor.shape:
            return False
        if all(one.right for one in judge_pair(self.view, found, name)):
            return True
        return source is not None and self._encoded(found, name, source)

    def _encoded(self, found: View, name: str, source: View) -> bool:
        """Whether the foreign tensor is an encoding of this output's, and nothing like one of the source's."""
        assert self.view is not None
        made, other = self.view.tensors[name], found.tensors[name]
        if made.order != other.order:
            return False
        if not all(honest(one) for one in judge_pair(self.view, found, name, asked=True)):
            return False
        if name not in source.tensors or other.tensor.type.is_scalar:
            return True
        right = structural.Case(source, found, name)
        return nearer(made.tensor, right.before, other.tensor, (None, right.turn_of(name)))


def _equal(one: View, other: View, name: str) -> bool:
    """Whether two files hold a tensor in the same bytes under the same label."""
    a, b = one.tensors[name], other.tensors[name]
    if (a.tensor.type, a.tensor.shape, a.order) != (b.tensor.type, b.tensor.shape, b.order):
        return False
    stated = one.ill_fitting.get(a.tensor.name), other.ill_fitting.get(b.tensor.name)
    return stated[0] == stated[1] and bool(np.array_equal(a.tensor.data, b.tensor.data))


@contextmanager
def replays(
    members: Iterable[Member], job: Job, source: View | None, folder: Path
) -> Iterator[list[Replay]]:  # fmt: skip
    """The outputs of those members that show anywhere on the way from source to target; closed when the context is left."""
    made: list[Replay] = []
    controls: dict[str, Replay | None] = {}
    with ExitStack() as open_:
        for number, (member, options) in enumerate((one, how) for one in members for how in _options(one, job)):
            told = repr((sorted(options.items()), sorted(member.options.items()), member.asks))
            if told not in controls:
                controls[told] = _replay(member, job, folder / f"{number}-right", options, wrong=False)
                open_.callback(_close, controls[told])
            found = _replay(member, job, folder / f"{number}", options)
            open_.callback(_close, found)
            if found is not None:
                made.append(_beside(found, controls[told], source, words=job.words))
        yield made


def _close(replay: Replay | None) -> None:
    if replay is not None:
        replay.close()


def _beside(replay: Replay, control: Replay | None, source: View | None, *, words: bool) -> Replay:
    """With what it does otherwise than the reference that is told the same, or than is right, where the reference refuses."""
    if replay.view is None or source is None:
        return replay
    facts = _facts(source, replay.view) if words else frozenset()
    if control is None or control.view is None:
        return replace(replay, changed=wrong_tensors(judge(source, replay.view)), facts=facts)
    one, other = replay.view, control.view
    both = one.tensors.keys() & other.tensors.keys()
    changed = (one.tensors.keys() ^ other.tensors.keys()) | {name for name in both if not _equal(one, other, name)}
    return replace(replay, changed=frozenset(changed), facts=facts - _facts(source, other) if facts else facts)


def _facts(source: View, view: View) -> frozenset[tuple[str, str]]:
    return frozenset((finding.kind, finding.detail) for finding in judge_metadata(source, view).findings)


def wrong_tensors(judged: Judged) -> frozenset[str]:
    """The tensors that something is found on."""
    return frozenset(finding.tensor for finding in judged.findings if finding.tensor is not None)


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
    return Path(f"out{of(job.target).suffix}")


def _replay(
    member: Member, job: Job, place: Path, options: dict[str, Any], *, wrong: bool = True
) -> Replay | None:  # fmt: skip
    """One conversion; None where the member refuses, or what is wrong with it breaks it."""
    place.mkdir()
    out = place / ("out" if of(job.target).has_companions and is_model(job.source) else _named(job).name)
    try:
        with unchecked(), replaced(*(_INCOMPLETE if job.partial else ())):
            (_with_less(member) if job.partial else member).convert(job.source, out, wrong=wrong, **options)
    except Exception:  # noqa: BLE001 - a wrong part may do anything; what writes nothing explains nothing
        return None
    try:
        return Replay(member, look(out))
    except UnreadableError as error:
        return Replay(member, None, complaint(error))


def _with_less(member: Member) -> Member:
    """The member, content with a part of a model, whatever it asks for itself."""

    @contextmanager
    def broken() -> Iterator[None]:
        with member.broken(), replaced(*_INCOMPLETE):
            yield

    return replace(member, broken=broken)


def complaint(error: UnreadableError) -> str:
    """Why a file cannot be read, without its place on the disk."""
    cause = error.__cause__
    return f"{cause.tensor or ''}: {cause.problem}" if isinstance(cause, RosettaError) else error.problem


# A part of a large source


def part_of(source: View, name: str, folder: Path, *, words: bool = False) -> Path:
    """A file or directory with one tensor of the source, by its canonical name, and what is said of the model.

    The tokenizer, which is most of that, only with `words`.
    """
    folder.mkdir(parents=True)
    held = {name: source.tensors[name].tensor} if name in source.tensors else {}
    embedding = source.tensors.get(mapping.EMBEDDING)
    if embedding is not None and name != mapping.EMBEDDING and source.architecture is not None:
        held[mapping.EMBEDDING] = _row_of(embedding.tensor)
    metadata = dict(source.archive.metadata) if words else _without_words(source)
    archive = Archive(source.format, metadata, {one.name: one for one in held.values()})
    container = of(source.format)
    if not container.has_companions:
        file = folder / f"source{container.suffix}"
        container.write(archive, file)
        return file
    beside = source.path if source.path.is_dir() else source.path.parent
    for name in present(beside):
        if words or name == "config.json":
            data = read_beside(beside, name)
            (folder / name).parent.mkdir(exist_ok=True)  # templates have a folder of their own
            (folder / name).write_bytes(data)
    container.write(archive, folder / f"model{container.suffix}")
    return folder


def _without_words(source: View) -> dict[str, Any]:
    kept = {key: value for key, value in source.archive.metadata.items() if not key.startswith("tokenizer.")}
    if isinstance(source.archive.metadata.get("tokenizer.ggml.model"), Value):
        kept["tokenizer.ggml.model"] = Value.scalar(Kind.STRING, "no_vocab")
    return kept


def _row_of(embedding: Tensor) -> Tensor:
    kind = embedding.type if embedding.type.is_scalar else TYPES["F32"]
    width = embedding.shape[-1]
    return Tensor.of(embedding.name, kind, (1, width), np.zeros(width * kind.block_bytes, np.uint8))
