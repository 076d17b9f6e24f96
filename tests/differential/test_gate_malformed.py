"""The malformed files of the gate: each breaks the rule that it is named after, and its verdict is not stricter than the parsers are.

Three judges: the readers of this package, by the class of their error; ggml's own parser and the safetensors library, which refuse
all that must be refused; and what may be accepted is accepted by somebody, else it were no disagreement.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import gguf as gguf_py
import pytest
import safetensors

from rosetta_ref.archive import Archive
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import gguf
from rosetta_ref.formats.apr import errors as apr_errors
from rosetta_ref.formats.detect import open_archive
from rosetta_ref.formats.gguf import errors as gguf_errors
from rosetta_ref.formats.safetensors import errors as st_errors
from rosetta_ref.gate import malformed
from rosetta_ref.gate.inputs import default as default_samples
from rosetta_ref.gate.inputs import write
from rosetta_ref.gate.malformed import MAY_ACCEPT, MUST_REFUSE, Malformed, NoTwinError
from rosetta_ref.gate.malformed import apr as apr_rules
from rosetta_ref.gate.malformed import gguf as gguf_rules
from rosetta_ref.gate.malformed import safetensors as safetensors_rules
from rosetta_ref.quant.block import RaggedRowError
from tests.support import ggml

SAMPLES = {sample.name: sample for sample in default_samples.default(1)}
SINGLE = [
    ("llama-q4_k_m", "gguf"), ("floats", "gguf"), ("k", "gguf"), ("aligned-8", "gguf"), ("llama-q4_k_m", "apr"),
    ("llama-f32-tied", "apr"), ("floats", "apr"), ("llama-f16-scores", "safetensors"), ("floats", "safetensors"),
]  # fmt: skip
FORMATS = ("gguf", "apr", "safetensors")

#: What the readers of this package say to each rule, where that is not TruncatedError of some kind.
NAMED: dict[str, type[RosettaError]] = {
    "gguf/magic-wrong": gguf_errors.NotGgufError,
    "gguf/version-1": gguf_errors.RetiredVersionError,
    "gguf/version-unknown": gguf_errors.UnknownVersionError,
    "gguf/version-huge": gguf_errors.UnknownVersionError,
    "gguf/tensor-count-past-the-end": gguf_errors.ImpossibleCountError,
    "gguf/tensor-count-overflows": gguf_errors.NegativeCountError,
    "gguf/key-count-past-the-end": gguf_errors.ImpossibleCountError,
    "gguf/key-count-overflows": gguf_errors.NegativeCountError,
    "gguf/key-length-past-the-end": gguf_errors.TruncatedHeaderError,
    "gguf/key-length-overflows": gguf_errors.LongStringError,
    "gguf/text-length-past-the-end": gguf_errors.TruncatedHeaderError,
    "gguf/text-length-overflows": gguf_errors.LongStringError,
    "gguf/array-count-past-the-end": gguf_errors.ImpossibleCountError,
    "gguf/array-count-overflows": gguf_errors.LongArrayError,
    "gguf/kind-unknown": gguf_errors.UnknownKindError,
    "gguf/item-kind-unknown": gguf_errors.UnknownKindError,
    "gguf/type-unknown": gguf_errors.UnknownTensorTypeError,
    "gguf/type-removed": gguf_errors.RemovedTypeError,
    "gguf/type-larger-than-the-data": gguf_errors.TruncatedDataError,
    "gguf/name-length-past-the-end": gguf_errors.TruncatedHeaderError,
    "gguf/dimension-count-huge": gguf_errors.DimensionCountError,
    "gguf/dimension-past-the-end": gguf_errors.TruncatedDataError,
    "gguf/dimension-negative": gguf_errors.NegativeDimensionError,
    "gguf/dimensions-overflow": gguf_errors.HugeTensorError,
    "gguf/row-not-whole-blocks": RaggedRowError,
    "gguf/offset-past-the-end": gguf_errors.TruncatedDataError,
    "gguf/offset-overflows": gguf_errors.HugeTensorError,
    "gguf/tensors-overlap": gguf_errors.TensorOverlapError,
    "gguf/tensor-twice": gguf_errors.DuplicateTensorError,
    "gguf/alignment-a-text": gguf_errors.AlignmentValueError,
    "gguf/alignment-zero": gguf_errors.AlignmentValueError,
    "apr/magic-wrong": apr_errors.OldContainerError,
    "apr/version-1": apr_errors.OldContainerError,
    "apr/version-unknown": apr_errors.VersionError,
    "apr/tensor-count-past-the-end": apr_errors.IndexEntryError,
    "apr/metadata-size-past-the-end": apr_errors.LimitError,
    "apr/metadata-offset-past-the-end": apr_errors.SectionError,
    "apr/metadata-offset-overflows": apr_errors.SectionError,
    "apr/index-offset-past-the-end": apr_errors.SectionError,
    "apr/data-offset-past-the-end": apr_errors.TruncatedError,
    "apr/data-offset-overflows": apr_errors.TruncatedError,
    "apr/data-before-the-index": apr_errors.SectionError,
    "apr/metadata-no-json": apr_errors.MetadataError,
    "apr/metadata-a-list": apr_errors.MetadataError,
    "apr/metadata-no-utf-8": apr_errors.MetadataError,
    "apr/metadata-nested": apr_errors.MetadataError,
    "apr/name-length-past-the-end": apr_errors.LimitError,
    "apr/name-no-utf-8": apr_errors.TensorNameError,
    "apr/type-unknown": apr_errors.UnknownTypeError,
    "apr/type-of-ggml": apr_errors.UnknownTypeError,
    "apr/type-smaller-than-the-data": apr_errors.SizeMismatchError,
    "apr/dimensions-past-the-end": apr_errors.LimitError,
    "apr/dimensions-overflow": apr_errors.SizeMismatchError,
    "apr/size-smaller-than-the-shape": apr_errors.SizeMismatchError,
    "apr/size-past-the-end": apr_errors.SizeMismatchError,
    "apr/offset-past-the-end": apr_errors.TruncatedError,
    "apr/offset-overflows": apr_errors.TruncatedError,
    "apr/tensors-overlap": apr_errors.OverlapError,
    "apr/tensor-twice": apr_errors.DuplicateNameError,
    "apr/flag-encrypted": apr_errors.FlagError,
    "apr/flag-sharded": apr_errors.FlagError,
    "apr/flag-column-major": apr_errors.FlagError,
    "safetensors/length-past-the-end": st_errors.TruncatedHeaderError,
    "safetensors/length-huge": st_errors.HeaderTooLargeError,
    "safetensors/length-overflows": st_errors.HeaderTooLargeError,
    "safetensors/length-zero": st_errors.HeaderJsonError,
    "safetensors/header-no-json": st_errors.HeaderJsonError,
    "safetensors/header-a-list": st_errors.HeaderJsonError,
    "safetensors/header-nested": st_errors.HeaderJsonError,
    "safetensors/header-no-utf-8": st_errors.HeaderEncodingError,
    "safetensors/dtype-missing": st_errors.EntryError,
    "safetensors/shape-missing": st_errors.EntryError,
    "safetensors/offsets-missing": st_errors.EntryError,
    "safetensors/dtype-unknown": st_errors.UnknownDtypeError,
    "safetensors/dtype-of-ggml": st_errors.UnknownDtypeError,
    "safetensors/shape-larger-than-the-data": st_errors.SizeMismatchError,
    "safetensors/shape-negative": st_errors.EntryError,
    "safetensors/shape-not-whole": st_errors.EntryError,
    "safetensors/shape-overflows": st_errors.ShapeOverflowError,
    "safetensors/offsets-past-the-end": st_errors.DataOffsetsError,
    "safetensors/offsets-overflow": st_errors.DataOffsetsError,
    "safetensors/offsets-negative": st_errors.EntryError,
    "safetensors/offsets-reversed": st_errors.DataOffsetsError,
    "safetensors/tensors-overlap": st_errors.DataOffsetsError,
    "safetensors/name-twice": st_errors.DuplicateEntryError,
    "safetensors/index-no-json": st_errors.IndexJsonError,
    "safetensors/index-without-a-map": st_errors.IndexJsonError,
    "safetensors/index-map-a-list": st_errors.IndexJsonError,
    "safetensors/index-names-a-missing-file": st_errors.MissingShardError,
    "safetensors/index-names-a-file-outside": st_errors.ShardPathError,
    "safetensors/index-names-the-wrong-file": st_errors.MissingTensorError,
}


def made_of(name: str, form: str, folder: Path, *, everywhere: bool = False) -> list[Malformed]:
    path = write.write(SAMPLES[name], form, folder / "twin", "directory" if name == "sharded" else "file")
    return malformed.from_file(path, 3, everywhere=everywhere)


def refusal(broken: Malformed, folder: Path) -> type[RosettaError] | None:
    try:
        with open_archive(broken.write(folder)) as archive:
            for tensor in archive.tensors.values():
                assert len(tensor.data) == tensor.nbytes
    except RosettaError as error:
        return type(error)
    return None


@pytest.mark.parametrize(("name", "form"), [*SINGLE, ("sharded", "safetensors")])
def test_each_file_breaks_the_rule_it_is_named_after(name: str, form: str, tmp_path: Path) -> None:
    made = made_of(name, form, tmp_path)
    open_archive(made[0].twin).close()
    assert {broken.twin for broken in made} == {made[0].twin}
    assert len({broken.rule for broken in made}) == len(made)
    for number, broken in enumerate(made):
        assert broken.format == form
        assert "https://" in broken.source or "/cut/" in broken.rule
        found = refusal(broken, tmp_path / str(number))
        if broken.verdict == MUST_REFUSE:
            assert found is not None, broken.rule
            assert "/cut/" in broken.rule or found is NAMED[broken.rule], (broken.rule, found)


def test_every_rule_is_broken_by_some_file(tmp_path: Path) -> None:
    pairs = [*SINGLE, ("sharded", "safetensors")]
    made = [broken for name, form in pairs for broken in made_of(name, form, tmp_path / name / form)]
    rules = {broken.rule: broken.verdict for broken in made if "/cut/" not in broken.rule}
    assert {rule for rule, verdict in rules.items() if verdict == MUST_REFUSE} == NAMED.keys()
    for rows in (gguf_rules.RULES, apr_rules.RULES, apr_rules.CHECKSUMS, safetensors_rules.RULES):
        assert {f"{rows.format}/{name}" for name, _, _ in [*rows.must, *rows.may]} <= rules.keys()


@pytest.mark.parametrize("form", FORMATS)
def test_cuts_are_made_before_and_in_every_field(form: str, tmp_path: Path) -> None:
    """All of them are refused by this package's reader, up to the last byte of data; behind it both are right."""
    made = made_of("floats", form, tmp_path, everywhere=True)
    found = [broken for broken in made if "/cut/" in broken.rule]
    assert len(found) > 90
    path = tmp_path / f"cut.{form}"
    for broken in found:
        path.write_bytes(broken.data())
        if broken.verdict == MUST_REFUSE:
            with pytest.raises(RosettaError):
                open_archive(path)
        else:
            assert form != "safetensors"


# The parsers of others


class _Params(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p)))


def ggml_takes(data: bytes) -> bool:
    """Whether ggml reads the file, its data included."""
    lib, context = ggml.library(), ctypes.c_void_p()
    lib.gguf_init_from_buffer.restype = ctypes.c_void_p
    lib.gguf_init_from_buffer.argtypes = [ctypes.c_char_p, ctypes.c_size_t, _Params]
    lib.gguf_free.argtypes = lib.ggml_free.argtypes = [ctypes.c_void_p]
    read = lib.gguf_init_from_buffer(data, len(data), _Params(False, ctypes.pointer(context)))
    if read:
        lib.gguf_free(read)
        lib.ggml_free(context)
    return bool(read)


def gguf_py_takes(data: bytes, path: Path) -> bool:
    path.write_bytes(data)
    try:
        gguf_py.GGUFReader(path)
    except (ValueError, KeyError, IndexError, UnicodeDecodeError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("name", [name for name, form in SINGLE if form == "gguf"])
def test_ggml_refuses_what_must_be_refused(name: str, tmp_path: Path) -> None:
    made = made_of(name, "gguf", tmp_path)
    assert ggml_takes(made[0].twin.read_bytes())
    taken = [broken.rule for broken in made if broken.verdict == MUST_REFUSE and ggml_takes(broken.data())]
    assert taken == []


@pytest.mark.parametrize("name", [name for name, form in SINGLE if form == "gguf"])
def test_somebody_takes_what_may_be_accepted(name: str, tmp_path: Path) -> None:
    by_ggml, by_gguf_py, by_none = set(), set(), set()
    for broken in made_of(name, "gguf", tmp_path):
        if broken.verdict == MAY_ACCEPT and "/cut/" not in broken.rule:
            rule, data = broken.rule.removeprefix("gguf/"), broken.data()
            takers = [by_ggml] * ggml_takes(data) + [by_gguf_py] * gguf_py_takes(data, tmp_path / "x.gguf")
            for found in takers or [by_none]:
                found.add(rule)
    assert by_ggml & by_gguf_py >= {"trailing-bytes", "bool-of-2", "text-not-utf-8", "name-empty"}
    assert by_gguf_py - by_ggml >= {
        "five-dimensions",
        "offset-misaligned",
        "tensors-with-a-gap",
        "name-of-64-bytes",
        "array-nested",
    }
    assert by_none <= {"array-nested-deeply", "key-twice"}  # the sources say why


@pytest.mark.parametrize("name", ["floats", "llama-f16-scores"])
def test_the_library_refuses_what_must_be_refused(name: str, tmp_path: Path) -> None:
    taken = set()
    for broken in made_of(name, "safetensors", tmp_path):
        try:
            safetensors.deserialize(broken.data())
        except safetensors.SafetensorError:
            continue
        taken.add(broken.rule.removeprefix("safetensors/"))
        assert broken.verdict == MAY_ACCEPT, broken.rule
    assert taken == {"leading-spaces", "name-twice-alike", "metadata-empty", "entry-with-more"}


def test_a_broken_file_is_its_twin_but_for_the_edits(tmp_path: Path) -> None:
    """Edits of a malformed file are few bytes, and the rest is the twin's: the rule is the only thing that is broken."""
    made = made_of("floats", "safetensors", tmp_path)
    for broken in made:
        twin, data = broken.twin.read_bytes(), broken.data()
        assert data != twin
        if "/cut/" in broken.rule:
            assert twin.startswith(data)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_seed_gives_the_same_files(form: str, tmp_path: Path) -> None:
    path = write.write(SAMPLES["floats"], form, tmp_path, "file")
    assert malformed.from_file(path, 1) == malformed.from_file(path, 1)
    assert malformed.from_file(path, 1) != malformed.from_file(path, 2)


def test_companions_come_along(tmp_path: Path) -> None:
    path = write.write(SAMPLES["llama-f16-scores"], "safetensors", tmp_path / "twin", "directory")
    for given in (path, path / "model.safetensors"):
        broken = malformed.from_file(given, 0)[0]
        written = broken.write(tmp_path / given.name / "out")
        folder = written if written.is_dir() else written.parent
        assert (folder / "config.json").read_bytes() == (path / "config.json").read_bytes()
        assert (folder / "tokenizer.model").exists()
        assert (folder / "model.safetensors").read_bytes() != (path / "model.safetensors").read_bytes()


def test_a_file_without_data_is_no_twin(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    gguf.write(Archive("gguf", {}, {}), path)
    with pytest.raises(NoTwinError, match="nothing to break"):
        malformed.from_file(path, 0)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(NoTwinError, match="taken apart"):
        malformed.from_file(path, 0)
