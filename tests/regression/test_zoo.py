"""The zoo: each member writes the wrong thing that its record says, where the reference is right, and nothing wrong on what hides it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.convert import convert
from rosetta_ref.demo import tiny_model
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.formats.detect import sniff
from rosetta_ref.gate.converter.entry import ACCEPTED, REFUSED
from rosetta_ref.gate.pairs import LETTERS, PAIRS
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import MEMBERS, Member, seams
from rosetta_ref.zoo.adapter import control, converter
from rosetta_ref.zoo.files import blocks, in_gguf, model, model_in, tensor
from rosetta_ref.zoo.inputs import blind, smallest
from rosetta_ref.zoo.member import CLASSES, WaitingError, is_model, unchecked
from rosetta_ref.zoo.members.containers import aligned_to_64
from rosetta_ref.zoo.seams import Part, Seam, nothing, replaced
from tests.support import (
    stored,
    zoo_answers_words,  # noqa: F401 (its answers)
)
from tests.support.nightly import part
from tests.support.zoo_answers import ANSWERS, CHECKS
from tests.support.zoo_answers import REFUSED as RIGHTLY_REFUSED

FORMATS = ("gguf", "apr", "safetensors")
RUNNING = [member for member in MEMBERS.values() if member.waiting_for is None]
WAITING = [member for member in MEMBERS.values() if member.waiting_for is not None]
EACH = pytest.mark.parametrize("member", RUNNING, ids=lambda member: member.id)
#: What the reference cannot do at all, so no part of it can be wrong.
IMPOSSIBLE = {("quantiser", "safetensors"): "no block type is written to SafeTensors"}
#: Rows of the list of known bugs.
LISTED = {
    "quant-bytes-read-as-f32", "raw-blocks-labelled-f32", "aprq8-labelled-q8_0", "type-ids-from-memory", "q5_0-interleaved",
    "q2_k-sequential-scales", "q4_0-packs-neighbours", "q4_1-skips-two-bytes", "first-block-only", "q3_k-scales-4-bit",
    "k-scales-bit-stream", "f16-scale-as-bf16", "subnormal-scale-zeroed", "f16-truncates-and-flushes", "bf16-truncates",
    "bf16-through-f16", "zero-block-gives-nan-scale", "alignment-key-ignored", "ragged-row-flattened", "shape-not-reversed",
    "data-transposed-too", "k-permuted-with-wrong-head-count", "inverse-permutation-is-forward",
    "permutes-every-architecture", "norm-plus-one-forgotten", "norm-plus-one-twice", "tied-head-dropped",
    "tied-head-invented", "expert-stacked-into-wrong-layer", "drops-biases", "stale-shard-wins", "tokenizer-dropped",
    "null-and-alias", "truncation-accepted", "big-endian-block-swapped-whole",
}  # fmt: skip


def target(folder: Path, source: Path, pair: str) -> Path:
    folder.mkdir(exist_ok=True)
    if pair[-1] == "S":
        return folder / ("out" if is_model(source) else "out.safetensors")
    return folder / ("out.gguf" if pair[-1] == "G" else "out.apr")


def content(path: Path) -> dict[str, bytes]:
    files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
    assert files
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def opened(path: Path) -> stored.File | None:
    """The source as stored; nothing here reads sets of files, big-endian or cut ones."""
    try:
        return stored.read(path)
    except (FileNotFoundError, struct.error):
        return None


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    assert expected
    return got.keys() == expected.keys() and all(
        x.shape == expected[name].shape and np.array_equal(x, expected[name].astype(np.float32), equal_nan=True)
        for name, x in got.items()
    )


@EACH
def test_the_smallest_input_shows_it(member: Member, tmp_path: Path) -> None:
    source = smallest(member.id, tmp_path)
    pair = member.pairs[0]
    wrong, right, again = (target(tmp_path / name, source, pair) for name in ("wrong", "right", "again"))
    before = content(source)
    run = converter(member).convert(source, wrong)
    assert run.outcome == ACCEPTED, run.stderr
    assert content(source) == before
    control_run = control(member).convert(source, right)
    if member.id in CHECKS:
        assert control_run.outcome == ACCEPTED, control_run.stderr
        CHECKS[member.id](stored.read(source), stored.read(right), stored.read(wrong))
    else:
        expected, bad = ANSWERS[member.id](opened(source))
        assert same(stored.read(wrong).all_values(), bad)
        if isinstance(expected, str):
            assert (expected, control_run.outcome) == (RIGHTLY_REFUSED, REFUSED)
            return
        assert control_run.outcome == ACCEPTED, control_run.stderr
        assert same(stored.read(right).all_values(), expected)
        assert not same(bad, expected)
    member.convert(source, again, wrong=False)
    assert content(again) == content(right) != content(wrong)


@EACH
def test_the_blind_input_hides_it(member: Member, tmp_path: Path) -> None:
    source = blind(member.id, tmp_path)
    if source is None:
        assert member.blind in ("-", "none")
        return
    wrong, right = (target(tmp_path / name, source, member.pairs[0]) for name in ("wrong", "right"))
    for made, under_test in ((wrong, converter(member)), (right, control(member))):
        run = under_test.convert(source, made)
        assert run.outcome == ACCEPTED, run.stderr
    assert content(wrong) == content(right)


#: Members whose bug is to take what is to be refused.
CREDULOUS = {
    "truncation-accepted", "shard-taken-for-whole", "shards-by-pattern", "every-file-of-the-folder", "missing-shard-left-out",
}  # fmt: skip

#: Every pair that a member declares, but for the first, which has a test of its own; what is cut is another file for each format.
PAIRS_OF_EACH = [(m, pair) for m in RUNNING for pair in m.pairs[1:] if m.id != "truncation-accepted"]


@pytest.mark.parametrize(("member", "pair"), PAIRS_OF_EACH, ids=lambda x: x if isinstance(x, str) else x.id)
def test_every_pair_shows_it(member: Member, pair: str, tmp_path: Path) -> None:
    source = smallest(member.id, tmp_path)
    if sniff(source) != LETTERS[pair[0]]:
        face = target(tmp_path / "face", source, pair[::-1])
        extra = member.options.get("extra_keys", True)
        convert(source, face, keep_blocks=False, keep_names=not is_model(source), extra_keys=extra)
        source = face
    wrong, right = (target(tmp_path / name, source, pair) for name in ("wrong", "right"))
    run = converter(member).convert(source, wrong)
    assert run.outcome == ACCEPTED, run.stderr
    if control(member).convert(source, right).accepted:
        assert content(wrong) != content(right)
    elif member.id == "f16-clamps":  # the reference refuses what F16 cannot hold
        assert np.abs(stored.read(wrong).values("blk.0.ffn_up.weight")).max() == 65504
    else:
        assert member.id in CREDULOUS


@pytest.mark.parametrize(("name", "behind"), [("gguf", 0), ("apr", 4), ("safetensors", 0)], ids=FORMATS)
def test_a_cut_file_of_each_format_is_accepted(name: str, behind: int, tmp_path: Path) -> None:
    """Behind the data of an APR file is a checksum."""
    member = MEMBERS["truncation-accepted"]
    source = tmp_path / f"cut.{name}"
    whole = blind(member.id, tmp_path)
    if name == "gguf":
        source.write_bytes(whole.read_bytes())
    else:
        convert(whole, source, keep_blocks=False, keep_names=True)
    source.write_bytes(source.read_bytes()[: -behind - 1])
    out = tmp_path / ("out.apr" if name == "gguf" else "out.gguf")
    assert control(member).convert(source, out).outcome == REFUSED
    assert converter(member).convert(source, out).outcome == ACCEPTED
    assert stored.read(out).values("blk.0.ffn_up.weight")[0].tolist() == [*range(1, 16), 2.0**-126]


def shows(member_id: str, source: Path, folder: Path, pair: str) -> bool:
    wrong, right = (target(folder / name, source, pair) for name in ("wrong", "right"))
    for made, under_test in ((wrong, converter(MEMBERS[member_id])), (right, control(MEMBERS[member_id]))):
        run = under_test.convert(source, made)
        assert run.outcome == ACCEPTED, run.stderr
    return content(wrong) != content(right)


@pytest.mark.parametrize(
    ("heads", "shown"),
    [
        ((8, 2), True),
        ((6, 3), True),
        ((4, 1), True),
        ((4, 2), False),
        ((9, 3), False),
        ((16, 4), False),
        ((64, 8), False),
    ],
)
def test_head_counts_that_show_and_hide(heads: tuple[int, int], shown: bool, tmp_path: Path) -> None:
    source = model_in("safetensors", heads=heads)(tmp_path)
    assert shows("k-permuted-with-wrong-head-count", source, tmp_path, "S-G") is shown


@pytest.mark.parametrize(("size", "shown"), [(2, False), (4, False), (6, True), (8, True), (16, True)])
def test_head_sizes_that_show_and_hide(size: int, shown: bool, tmp_path: Path) -> None:
    source = model_in("gguf", head_dim=size)(tmp_path)
    assert shows("inverse-permutation-is-forward", source, tmp_path, "G-S") is shown


def test_scales_that_hide_bf16() -> None:
    """Of all finite f16, only the zeros and two of either sign are the same number in bf16."""
    bits = np.arange(1 << 16, dtype="<u2")
    halves = bits.view("<f2").astype(np.float32)
    kind = TYPES["Q8_0"]
    blocks = np.zeros(1 << 16, kind.dtype)
    blocks["d"], blocks["qs"] = bits.view("<f2"), 1
    with MEMBERS["f16-scale-as-bf16"].broken():
        made = kind.decode(blocks)[::32]
    assert made.size == halves.size
    same_number = halves[np.isfinite(halves) & (made == halves)]
    assert sorted(same_number.tolist()) == [-2, 0, 0, 2]


def test_the_block_of_aprenders_own_test_hides_the_lanes(tmp_path: Path) -> None:
    """qs[0]=0x0F, qh=0x00010001, which that repair was tested with, is the same in both orders."""
    shown, hidden = (blocks("Q5_0", d=1, qh=0x00010001, qs=[first] + 15 * [0]) for first in (0xF0, 0x0F))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert shows("q5_0-interleaved", in_gguf(tensor("Q5_0", shown))(tmp_path), tmp_path / "a", "G-S")
    assert not shows("q5_0-interleaved", in_gguf(tensor("Q5_0", hidden))(tmp_path), tmp_path / "b", "G-S")


def test_q5_1_has_the_lanes_of_q5_0(tmp_path: Path) -> None:
    d, m, qh, qs = 0.5, 3.0, 0x8421_0F0F, bytes(range(0, 256, 16))
    source = in_gguf(tensor("Q5_1", blocks("Q5_1", d=d, m=m, qh=qh, qs=list(qs))))(tmp_path)
    MEMBERS["q5_0-interleaved"].convert(source, tmp_path / "out.safetensors")
    found = stored.read(tmp_path / "out.safetensors").values("blk.0.ffn_up.weight")[0]
    codes = [(qs[i // 2] >> 4 * (i % 2) & 15) | (qh >> i & 1) << 4 for i in range(32)]
    assert found.tolist() == [d * code + m for code in codes]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model of the demo, with blocks of thirteen types, in each format."""
    folder = tmp_path_factory.mktemp("faces")
    convert(tiny_model(), folder / "model.apr")
    convert(tiny_model(), folder / "model", keep_blocks=False)
    return {"G": tiny_model(), "A": folder / "model.apr", "S": folder / "model"}


@pytest.fixture(scope="module")
def rightly(
    faces: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Member, str], dict[str, bytes]]:
    """What the reference makes of the model of the demo, told the same as a member: made once for all that are told the same."""
    made: dict[object, dict[str, bytes]] = {}

    def give(member: Member, pair: str) -> dict[str, bytes]:
        told = pair, member.asks, repr(sorted(member.options.items()))
        if told not in made:
            right = target(tmp_path_factory.mktemp("right"), faces[pair[0]], pair)
            assert control(member).convert(faces[pair[0]], right).outcome == ACCEPTED
            made[told] = content(right)
        return made[told]

    return give


# Of each class every other member, and so one of each; the others by night.
@pytest.mark.parametrize(
    "member",
    [one for name in CLASSES for one in part([m for m in RUNNING if m.klass == name])],
    ids=lambda member: member.id,
)
def test_a_member_is_wrong_where_it_says(
    member: Member, faces: dict[str, Path], rightly: Callable[[Member, str], dict[str, bytes]], tmp_path: Path
) -> None:
    """In no other pair than those it declares is anything different, and nothing crashes."""
    seen = set()
    for pair in PAIRS:
        wrong = target(tmp_path / pair, faces[pair[0]], pair)
        assert converter(member).convert(faces[pair[0]], wrong).outcome == ACCEPTED
        if content(wrong) != rightly(member, pair):
            seen.add(pair)
    assert seen <= set(member.pairs)


@pytest.mark.parametrize("past", [1, 16, 32, 33, 48, 64])
def test_where_a_header_may_end(past: int, tmp_path: Path) -> None:
    source = aligned_to_64(past)(tmp_path)
    assert shows("alignment-key-ignored", source, tmp_path, "G-S") is (past <= 32)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """A model of each format, cut in the data and in the header, or without one of its tensors; and suffixes to convert to."""
    folder = tmp_path_factory.mktemp("damaged")
    found = []
    for name, suffix in (("gguf", "apr"), ("apr", "gguf"), ("safetensors", "gguf")):
        source = model_in(name)(folder / name)
        weights = source / "model.safetensors" if source.is_dir() else source
        data = weights.read_bytes()
        for number, cut in enumerate((len(data) - 100, len(data) // 8, 40, 0)):
            made = folder / f"{name}-{number}"
            shutil.copytree(folder / name, made)
            (made / weights.relative_to(folder / name)).write_bytes(data[:cut])
            found.append((made / source.relative_to(folder / name), suffix))
    archive = model()
    del archive.tensors["blk.0.ffn_up.weight"]
    gguf.write(archive, folder / "missing.gguf")
    return [*found, (folder / "missing.gguf", "apr")]


@pytest.mark.parametrize(
    "member", [m for m in RUNNING if m.id not in ("truncation-accepted", "shard-taken-for-whole")], ids=lambda m: m.id
)
def test_what_is_damaged_is_refused(member: Member, damaged: list[tuple[Path, str]], tmp_path: Path) -> None:
    """A member has its own bug and no other one."""
    assert len(damaged) == 13
    for source, suffix in damaged:
        for under_test in (control(member), converter(member)):
            run = under_test.convert(source, tmp_path / f"out.{suffix}")
            assert run.outcome == REFUSED, (source, run)


#: What the library of aprender 0.25.0 wrote, and the member that does the same: tensor, member.
GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "apr-rosetta"


def test_members_write_what_aprender_wrote(tmp_path: Path) -> None:
    source, theirs = GOLDEN / "source" / "llama-mix.gguf", stored.read(GOLDEN / "aprender-0.25.0" / "llama-mix.apr")
    MEMBERS["q5_0-interleaved"].convert(source, tmp_path / "a.apr", apr_native=True)
    MEMBERS["raw-blocks-labelled-f32"].convert(source, tmp_path / "b.apr")
    MEMBERS["shape-not-reversed"].convert(source, tmp_path / "c.apr", apr_native=True)
    a, b, c = (stored.read(tmp_path / f"{name}.apr").tensors for name in "abc")
    v, down, embedding = "blk.0.attn_v.weight", "blk.0.ffn_down.weight", "token_embd.weight"
    assert stored.read(source).tensors[v].type == 6
    assert stored.read(source).tensors[down].type == 13
    assert (a[v].type, a[v].data) == (theirs.tensors[v].type, theirs.tensors[v].data)
    assert (b[down].type, b[down].data) == (theirs.tensors[down].type, theirs.tensors[down].data)
    assert c[embedding].dims == theirs.tensors[embedding].dims == (256, 261)
    assert stored.read(tmp_path / "c.apr").flags & 0x0400 == theirs.flags & 0x0400 == 0


@pytest.mark.parametrize("member", WAITING, ids=lambda member: member.id)
def test_who_waits_says_so(member: Member, tmp_path: Path) -> None:
    with pytest.raises(WaitingError, match=member.waiting_for):
        member.broken().__enter__()
    with pytest.raises(WaitingError, match=member.waiting_for):
        smallest(member.id, tmp_path)


def test_every_member_is_answered_for() -> None:
    assert {member.id for member in RUNNING} == ANSWERS.keys() | CHECKS.keys()
    assert not ANSWERS.keys() & CHECKS.keys()
    assert {member.id for member in MEMBERS.values() if not member.ours} >= LISTED
    assert {member.waiting_for for member in WAITING} == {"experts"}


def test_no_class_is_empty_in_any_format() -> None:
    cells = {(member.klass, name) for member in RUNNING for name in member.formats}
    assert cells.isdisjoint(IMPOSSIBLE)
    assert cells | IMPOSSIBLE.keys() == {(klass, name) for klass in CLASSES for name in FORMATS}


@pytest.mark.parametrize("member", MEMBERS.values(), ids=lambda member: member.id)
def test_records_are_in_full(member: Member) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", member.id)
    assert member.klass in CLASSES
    assert member.pairs
    assert set(member.pairs) <= {*PAIRS, "G-G"}
    assert member.formats
    assert all((member.origin, member.does, member.shows_on, member.blind))
    assert member.link is None or member.link.startswith("https://")
    assert member.asks is None or member.asks in TYPES


def test_a_part_is_put_back_whatever_happens() -> None:
    kind = TYPES["Q5_0"]
    decode, broken = kind.decode, MEMBERS["q5_0-interleaved"].broken()
    with broken:
        assert kind.decode is not decode
    assert kind.decode is decode
    with pytest.raises(ZeroDivisionError), replaced(seams.DECODE.of(kind).by(nothing)):
        raise ZeroDivisionError
    assert kind.decode is decode
    with (
        pytest.raises(KeyError),
        replaced(seams.DECODE.of(kind).by(nothing), Part(Seam("none", "no_such_part", "", one=kind), None)),
    ):
        raise AssertionError("there is no such part")
    assert kind.decode is decode


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["source", "out.safetensors"], 0), (["nothing.gguf", "out.safetensors"], 1), (["source"], 2)],
    ids=["converts", "refuses", "usage"],
)
def test_a_member_as_a_command(arguments: list[str], code: int, tmp_path: Path) -> None:
    source = smallest("q5_0-interleaved", tmp_path)
    named = [str(source if name == "source" else tmp_path / name) for name in arguments]
    command = [sys.executable, "-m", "rosetta_ref.zoo", "q5_0-interleaved", *named]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 0:
        assert same(
            stored.read(tmp_path / "out.safetensors").all_values(), ANSWERS["q5_0-interleaved"](opened(source))[1]
        )


def test_without_checks_the_reference_writes_the_same(tmp_path: Path) -> None:
    """What is left out is checks alone."""
    source = smallest("tokenizer-dropped", tmp_path)
    convert(source, tmp_path / "a.apr")
    with unchecked():
        convert(source, tmp_path / "b.apr")
    assert content(tmp_path / "a.apr") == {".": (tmp_path / "b.apr").read_bytes()}


def test_with_checks_the_reference_refuses_what_a_member_writes(tmp_path: Path) -> None:
    source = smallest("shape-not-reversed", tmp_path)
    with MEMBERS["shape-not-reversed"].broken(), pytest.raises(RosettaError):
        convert(source, tmp_path / "out.safetensors", keep_names=True)
