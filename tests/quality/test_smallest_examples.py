"""What the suite's own properties show of a broken codec or converter is the smallest example that there is.

The tests of `tests/properties` are run as they are on codecs and converters that are wrong on purpose, under a Hypothesis profile
that shrinks; what they drew in the last failing example is compared with what a person would have written down. An example of
which a part could be left out makes its reader look for the bug in that part.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.member import writing_of
from tests.quality.breaking import made_of, mutated
from tests.quality.mutations import MUTATIONS

PROPERTIES = Path(__file__).parents[1] / "properties"

settings.register_profile(
    "smallest", derandomize=True, database=None, deadline=None, max_examples=200, phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
)  # fmt: skip


# --- how the smallest example is got ------------------------------------------------------------------------------------


@functools.cache
def _module(name: str) -> ModuleType:
    """A module of properties once more, its Hypothesis tests under the profile above."""
    spec = importlib.util.spec_from_file_location(f"smallest.{name}", PROPERTIES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = settings.get_current_profile_name()
    settings.load_profile("smallest")
    try:
        spec.loader.exec_module(module)
    finally:
        settings.load_profile(before)
    return module


class _Keeping:
    """A `data` of `st.data()` that keeps what is drawn."""

    def __init__(self, data: st.DataObject, drawn: list[Any]) -> None:
        self._data, self._drawn = data, drawn

    def draw(self, strategy: st.SearchStrategy[Any], label: Any = None) -> Any:
        self._drawn.append(self._data.draw(strategy, label))
        return self._drawn[-1]


def smallest(
    module: str,
    test: str,
    broken: AbstractContextManager[None],
    *,
    error: type[BaseException] = AssertionError,
    **parameters: Any,
) -> list[Any]:
    """What that property draws in its smallest failing example, in order. It has to fail, and by that error."""
    property_ = getattr(_module(module), test)
    inner = property_.hypothesis.inner_test
    failed: list[list[Any]] = []

    @functools.wraps(inner)
    def kept(*arguments: Any, **named: Any) -> None:
        drawn: list[Any] = list(arguments)
        for name in [name for name in named if name not in parameters]:
            if isinstance(named[name], st.DataObject):
                named[name] = _Keeping(named[name], drawn)
            else:
                drawn.append(named[name])
        try:
            inner(*arguments, **named)
        except error:
            failed.append(drawn)
            raise

    property_.hypothesis.inner_test = kept
    try:
        with broken, redirect_stdout(StringIO()), pytest.raises(error):
            property_(**parameters)
    finally:
        property_.hypothesis.inner_test = inner
    return failed[-1]  # Hypothesis runs the smallest one last


@contextmanager
def mutation(name: str, what: str, folder: Path) -> Iterator[None]:
    """The type with a mistake of `mutations` in its codec."""
    found = next(one for one in MUTATIONS if name in one.types.split() and one.what == what)
    broken = made_of(name, found.place.partition(":")[0], mutated(found), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TYPES, name, broken)
        yield


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the codecs that mutations are made of; and no file has to outlive the machine."""
    monkeypatch.setenv("ROSETTA_FAST", "0")
    monkeypatch.setattr(os, "fsync", lambda _: None)


def fields(blocks: np.ndarray) -> dict[str, float]:
    """The fields of the one block that are not zero: of floats the number, of others how many bits are set."""
    assert blocks.shape == (1,)
    found = {}
    for name in blocks.dtype.names:
        field = np.ascontiguousarray(blocks[name])
        if field.view(np.uint8).any():
            number = field.dtype.kind == "f"
            found[name] = float(field.reshape(-1)[0]) if number else int(np.unpackbits(field.view(np.uint8)).sum())
    return found


def tensors(archive: Archive) -> list[tuple[str, str, tuple[int, ...], bool]]:
    """Of each tensor name, type and shape, and whether it is zeros."""
    assert not archive.metadata
    return [(one.name, one.type.name, one.shape, not one.data.any()) for one in archive.tensors.values()]


# --- codecs -------------------------------------------------------------------------------------------------------------

#: Type and mistake; what is left of one block. A scale is 1 where it has to be a number, and a code is one bit.
BLOCKS: list[tuple[str, str, dict[str, float]]] = [
    ("F16", "the sign is lost", {"x": -1}),
    ("BF16", "the sign is lost", {"x": 1}),
    ("Q4_0", "the sign of the scale is lost", {"d": -1}),
    ("Q4_1", "nibble order", {"d": 1, "qs": 1}),
    ("Q4_1", "the sign of the minimum", {"m": 1}),
    ("Q5_1", "order of the fifth bits", {"d": 1, "qh": 1}),
    ("Q4_K", "scale and minimum swapped", {"dmin": 1, "scales": 1}),
    ("MXFP4", "neighbours swapped", {"qs": 1}),
    ("IQ4_NL", "a level", {"d": 1, "qs": 1}),
    ("IQ3_XXS", "half the scale", {"d": 1}),
]
#: Those with several fields, whose smallest example takes longer to find.
SLOW_BLOCKS: list[tuple[str, str, dict[str, float]]] = [
    ("Q4_0", "codes are off by one", {"d": 1}),
    ("Q5_1", "nibble order", {"d": 1, "qs": 1}),
    ("IQ3_S", "scale bits: nibble order", {"d": 1, "scales": 1}),
    ("Q8_0", "the sign of codes is lost", {"qs": 1}),
    ("Q4_K", "top bits of scale and minimum swapped", {"dmin": 1, "scales": 1}),
    ("Q4_K", "order of the planes", {"d": 1, "scales": 1, "qs": 1}),
    ("Q5_K", "the fifth bit set for the fourth", {"d": 1, "scales": 1, "qh": 1}),
    ("Q2_K", "lane order", {"d": 1, "scales": 1, "qs": 1}),
    ("Q3_K", "scale bits", {"d": 1, "scales": 1}),
    ("Q6_K", "the sign of scales is lost", {"scales": 1}),
    ("IQ4_XS", "scale bits: order of the tops", {"scales_h": 1}),
    ("IQ2_XXS", "scale bits", {"d": 1, "qs": 1}),
    ("IQ1_S", "order of the top bits of the indices", {"qh": 1}),
    ("TQ1_0", "lane order of the last elements", {"qh": 1}),
    ("NVFP4", "subnormal scales are halved", {"d": 1, "qs": 1}),
]


@pytest.mark.parametrize(
    ("name", "what", "left"),
    [*BLOCKS, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_BLOCKS)],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_decode_exact(name: str, what: str, left: dict[str, float], tmp_path: Path) -> None:
    (blocks,) = smallest("test_decode_exact", "test_drawn_blocks", mutation(name, what, tmp_path), name=name)
    assert fields(blocks) == left


def test_rounding_once(tmp_path: Path) -> None:
    """The block, and the f16 that are put into it: one bit of the scales, and the smallest number that one can have."""
    oracle = _module("test_quant_laws")._q4_k
    broken = mutation("Q4_K", "scale and minimum swapped", tmp_path)
    block, *halves = smallest(
        "test_quant_laws", "test_decode_rounds_the_exact_value_once", broken, name="Q4_K", oracle=oracle
    )
    assert fields(block) == {"scales": 1}
    assert halves == [0, np.float16(2**-24)]


@pytest.mark.parametrize(
    ("name", "what", "number"),
    [("Q8_0", "negative elements have no magnitude", -1), ("Q5_0", "the fifth bit is the fourth", 1), ("Q5_1", "nibble order", 1)],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_encoding_is_near(name: str, what: str, number: float, tmp_path: Path) -> None:
    (values,) = smallest("test_quant_laws", "test_encoding_is_near", mutation(name, what, tmp_path), name=name)
    assert sorted(values, key=abs) == [0] * 31 + [number]


@pytest.mark.parametrize(
    ("name", "test", "what", "expected"),
    [
        ("AprQ4", "test_aprq4_by_its_words", "nibble order", [0]),
        ("AprQ4", "test_aprq4_by_its_words", "rounding: truncated", [1]),
        ("AprQ8", "test_aprq8_both_ways", "negative codes are lost", [-1]),
        (
            "AprQ8",
            "test_aprq8_both_ways",
            "rounding: truncated",
            [1, 4],
        ),  # 127 / 4 is between two codes, 127 / 2 and 127 / 3 are not
    ],
)
def test_encoders_of_apr(name: str, test: str, what: str, expected: list[float], tmp_path: Path) -> None:
    (values,) = smallest("test_quant_laws", test, mutation(name, what, tmp_path))
    assert values == expected


@pytest.mark.parametrize(
    ("name", "what"), [("Q6_K", "nibble order"), ("Q4_K", "the sign of the minimum"), ("Q5_0", "nibble order")]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_encode_laws(name: str, what: str, tmp_path: Path) -> None:
    """One block of the first kind of weights that there is."""
    drawn = smallest("test_encode_laws", "test_error", mutation(name, what, tmp_path), name=name)
    assert drawn == [1, "gaussian", 0]


# --- the three formats --------------------------------------------------------------------------------------------------


def test_gguf_shape() -> None:
    """Two sizes that differ, in a tensor without any data."""
    (archive,) = smallest(
        "test_gguf_roundtrip", "test_read_gives_what_was_written", MEMBERS["shape-not-reversed"].broken()
    )
    assert tensors(archive) == [("", "F32", (0, 1), True)]


@pytest.mark.slow
def test_gguf_type() -> None:
    (archive,) = smallest(
        "test_gguf_roundtrip", "test_read_gives_what_was_written", MEMBERS["type-ids-from-memory"].broken()
    )
    assert tensors(archive) in [[("", kind, (0,), True)] for kind in ("Q5_0", "Q5_1", "Q8_0")]


@pytest.mark.slow
def test_gguf_alignment() -> None:
    """The key, and a tensor whose place is another one then."""
    (archive,) = smallest(
        "test_gguf_roundtrip", "test_read_gives_what_was_written", MEMBERS["alignment-key-ignored"].broken()
    )
    assert {key: value.plain() for key, value in archive.metadata.items()} == {"general.alignment": 8}
    assert tensors(replace(archive, metadata={})) == [("", "F32", (), False)]


def test_gguf_metadata() -> None:
    """A writer that loses the empty texts."""

    def lossy(archive: Archive) -> Archive:
        kept = {key: value for key, value in archive.metadata.items() if value.data != ""}
        return replace(archive, metadata=kept)

    (archive,) = smallest("test_gguf_roundtrip", "test_read_gives_what_was_written", writing_of(lossy)())
    assert archive == Archive("gguf", {"0": Value.scalar(Kind.STRING, "")})


SAFETENSORS = "test_safetensors_roundtrip", "test_a_written_file_reads_back_and_writes_the_same_bytes"


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("header-padding-not-counted", ("", "BOOL", (), True)),
        ("shape-not-reversed", ("", "BOOL", (0, 1), True)),
        ("bf16-labelled-f16", ("", "BF16", (), True)),
        pytest.param("bf16-pairs-turned", ("", "BF16", (2,), False), marks=pytest.mark.slow),
        pytest.param("floats-written-big-endian", ("", "I16", (), False), marks=pytest.mark.slow),
    ],
)
def test_safetensors(member: str, expected: tuple[str, str, tuple[int, ...], bool]) -> None:
    (archive,) = smallest(*SAFETENSORS, MEMBERS[member].broken())
    assert tensors(archive) == [expected]


class _Other:
    """A second name that sorts behind "0": whether Hypothesis finds "1" or "00" hangs on the modules that are loaded."""

    def __eq__(self, name: object) -> bool:
        return name in ("00", "1")

    def __hash__(self) -> int:
        return 0


OTHER = _Other()


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("floats-written-big-endian", [("0", "F32", (), False)]),
        pytest.param("vectors-made-rows", [("0", "F32", (0,), True)], marks=pytest.mark.slow),
        # The first one takes space, the second one is something; names in the order of the file, and not.
        pytest.param(
            "apr-offsets-unpadded", [("0", "F32", (), True), (OTHER, "F32", (), False)], marks=pytest.mark.slow
        ),
        pytest.param(
            "index-sorted-data-not", [(OTHER, "F32", (), True), ("0", "F32", (), False)], marks=pytest.mark.slow
        ),
    ],
)
def test_apr(
    member: str, expected: list[tuple[str, str, tuple[int, ...], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    (archive,) = smallest(
        "test_apr_roundtrip",
        "test_what_is_written_is_read",
        MEMBERS[member].broken(),
        tmp_path_factory=tmp_path_factory,
    )
    assert tensors(archive) == expected


# --- conversion ---------------------------------------------------------------------------------------------------------

LAYER = {
    "attn_q": (256, 256), "attn_k": (128, 256), "attn_v": (128, 256), "attn_output": (256, 256), "ffn_gate": (256, 256),
    "ffn_up": (256, 256), "ffn_down": (256, 256),
}  # fmt: skip


@pytest.mark.parametrize(
    ("member", "architecture", "error", "more"),
    [
        ("drops-biases", "qwen2", KeyError, ["output.weight", *(f"blk.0.{name}.bias" for name in ("attn_q", "attn_k", "attn_v"))]),
        pytest.param("tied-head-invented", "llama", AssertionError, [], marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_random_models(member: str, architecture: str, error: type[BaseException], more: list[str]) -> None:
    """One layer, the fewest heads, all of F32 and zero; through the first chain."""
    model, chain = smallest("test_random_models", "test_there_and_back", MEMBERS[member].broken(), error=error)
    matrices = [f"blk.0.{name}.weight" for name in (*LAYER, "attn_norm", "ffn_norm")]
    assert model.tensors.keys() == {"token_embd.weight", "output_norm.weight", *matrices, *more}
    assert {name: model.tensors[f"blk.0.{name}.weight"].shape for name in LAYER} == LAYER
    assert all(one.type.name == "F32" and not one.data.any() for one in model.tensors.values())
    assert model.metadata["general.architecture"].plain() == architecture
    assert model.metadata[f"{architecture}.attention.head_count"].plain() == 2
    assert chain == ("m.apr",)


def test_a_property_that_holds_has_no_smallest_example() -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        smallest("test_decode_exact", "test_drawn_blocks", nullcontext(), name="Q4_0")
