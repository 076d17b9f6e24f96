"""Codecs made of changed source, and the tests of this suite run on them: what a mutation of `mutations` is, and what it is to die.

A mutated module is compiled anew, and with it those that take steps of it, so that nothing in the package itself changes. The type
made of their codecs stands in `quant.TYPES` while tests run, and these are the functions of `tests/properties` and
`tests/differential` as they are, imported once more under a Hypothesis profile without shrinking. A test dies of a mutation if one
of its assertions fails, and if the same test passes with the same codec made of the unchanged source. Any other exception is no
death: a mistake that raises an error corrupts nothing.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from rosetta_ref import quant
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES, BlockType
from tests.quality.mutations import Mutation

TESTS = Path(__file__).parents[1]
GRIDS = "grids.txt"

#: The modules that a codec is made of, each after those that it takes something of.
_SHARED = ("table", "kernel", "levels", "rounding", "encoding", "search", "kquants.packing")
_FAMILIES = ("scalars", "legacy", "kquants.affine", "kquants.symmetric", "iq4", "grid", "fp4", "fewbits", "aprender")
_LONG = {name.rpartition(".")[2]: f"rosetta_ref.quant.{name}" for name in (*_SHARED, *_FAMILIES)}

settings.register_profile(
    "mutations", derandomize=True, database=None, deadline=None, max_examples=20, phases=[Phase.generate],
    report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
)  # fmt: skip


# --- the codec -------------------------------------------------------------------------------------------------------------


def source_of(module: str) -> str:
    """The text of a module of `rosetta_ref.quant`, or of the file of grids."""
    if module == GRIDS:
        return Path(quant.__file__).with_name(GRIDS).read_text("ascii")
    return inspect.getsource(importlib.import_module(_LONG[module]))


def _span(module: str, source: str, name: str) -> tuple[int, int]:
    """Where the definition of that name stands in the source: a function, a class, an assignment; or a grid."""
    if module == GRIDS:
        first = source.index(f"\n{name} ")
        return first, (source + "\n\n").index("\n\n", first)
    starts = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        if name in [getattr(target, "id", getattr(target, "name", None)) for target in targets]:
            assert node.end_lineno is not None
            return starts[node.lineno - 1], starts[node.end_lineno]
    raise LookupError(f"{module} has no {name}")


def mutated(mutation: Mutation) -> str:
    """The source of the mutated module; an error unless the fragment stands in its place exactly once."""
    module, _, name = mutation.place.partition(":")
    source = source_of(module)
    first, last = _span(module, source, name)
    found = source[first:last].count(mutation.old)
    if found != 1 or "\n" in mutation.old + mutation.new or mutation.old == mutation.new:
        raise LookupError(
            f"{mutation.place}: {mutation.old!r} stands there {found} times, not once: the table is out of date"
        )
    return source[:first] + source[first:last].replace(mutation.old, mutation.new) + source[last:]


def family_of(name: str) -> str:
    """The module that the codec of a type stands in."""
    return next(
        family for family in _FAMILIES if name in importlib.import_module(_LONG[family.rpartition(".")[2]]).CODECS
    )


def made_of(name: str, module: str, source: str, folder: Path) -> BlockType:
    """The type with the codec that comes of that source of one module, and of the others as they are."""
    family = family_of(name)
    order = [_LONG[part.rpartition(".")[2]] for part in (*_SHARED, family)]
    if module == GRIDS:
        (folder / GRIDS).write_text(source, "ascii")
    with pytest.MonkeyPatch.context() as patch:
        changed = _LONG["grid" if module == GRIDS else module]
        made = {}
        for full in order[order.index(changed) :]:
            spec = importlib.util.find_spec(full)
            assert spec is not None
            assert spec.origin is not None
            fresh = importlib.util.module_from_spec(spec)
            parent, _, leaf = full.rpartition(".")
            patch.setitem(sys.modules, full, fresh)
            patch.setattr(sys.modules[parent], leaf, fresh)
            text = source if full == changed and module != GRIDS else inspect.getsource(importlib.import_module(full))
            exec(compile(text, spec.origin, "exec"), fresh.__dict__)
            made[full] = fresh
    codecs = made[order[-1]]
    if module == GRIDS:
        codecs.files = lambda package: folder
    number, elements, layout = made.get(_LONG["table"], importlib.import_module(_LONG["table"])).ROWS[name]
    decode, encode = codecs.CODECS[name]
    return replace(TYPES[name], id=number, elements=elements, layout=layout, decode=decode, encode=encode)


# --- the tests -------------------------------------------------------------------------------------------------------------

#: Where tests of codecs are, by side and by the way that they ask about first.
JUDGES = {
    ("properties", "decode"): ("test_decode_exact", "test_quant_laws"),
    ("properties", "encode"): ("test_encode_laws", "test_small_type_laws", "test_quant_laws"),
    ("differential", "decode"): (
        "test_decode_every_type",
        "test_decode_by_kin",
        "test_quant_gguf_py",
        "test_quant_ggml",
        "test_apr_golden",
    ),
    ("differential", "encode"): ("test_encode_ggml", "test_encode_small_types", "test_quant_ggml", "test_apr_golden"),
}
#: Tests of one type that have no parameter for it.
ABOUT = {
    "test_eight_bits_round_half_away_from_zero": ("Q8_0", "Q8_1"),
    "test_sums_are_stored": ("Q8_1", "Q8_K"),
    "test_q1_0_keeps_signs_and_the_mean": ("Q1_0",),
    "test_nvfp4_takes_the_nearest_scale_for_a_sixth_of_the_largest_magnitude": ("NVFP4",),
    "test_the_search_is_no_worse_than_the_scale_of_the_largest_element": ("IQ4_NL",),
    "test_every_f16": ("F16",),
    "test_every_bf16": ("BF16",),
    "test_f32_and_f64_keep_every_bit": ("F32", "F64"),
    "test_every_scale_of_iq1_m": ("IQ1_M",),
    "test_aprq4_by_its_words": ("AprQ4",),
    "test_aprq8_both_ways": ("AprQ8",),
}
#: Asked before all others, since they say much in little time; and those that say nothing of a codec.
_FIRST = ("test_drawn_blocks", "test_encode_one_block", "test_encode_drawn", "test_encode")
_NEVER = (
    "test_the_sweep_over_words_is_whole",
    "test_index_pattern_tells_blocks_apart",
    "test_payload_has_the_size_of_the_shape",
)


@dataclass(frozen=True)
class Asked:
    """One test of the suite with its arguments."""

    title: str
    run: Callable[[], Any]

    def fails(self) -> bool:
        """Whether one of its assertions does; whatever else it raises is its own affair."""
        try:
            with redirect_stdout(StringIO()):
                self.run()
        except (AssertionError, pytest.fail.Exception):
            return True
        except (ValueError, TypeError, LookupError, ArithmeticError, RosettaError):
            return False
        return False


@cache
def _module(side: str, name: str) -> ModuleType:
    """A module of tests once more, its Hypothesis tests with few examples and no shrinking."""
    spec = importlib.util.spec_from_file_location(f"mutated.{name}", TESTS / side / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = settings.get_current_profile_name()
    settings.load_profile("mutations")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HYPOTHESIS_PROFILE", "mutations")  # not the nightly amounts
            spec.loader.exec_module(module)
    finally:
        settings.load_profile(before)
    return module


def _arguments(test: Any) -> Iterator[dict[str, Any]]:
    """Every combination of the parameters of a test, as pytest makes them."""
    sets = []
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            names, values = mark.args[:2]
            names = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
            sets.append([dict(zip(names, _each(value, len(names)), strict=True)) for value in values])
    for parts in itertools.product(*sets):
        yield {key: value for part in parts for key, value in part.items()}


def _each(value: Any, count: int) -> Sequence[Any]:
    """The values of one set of parameters; those that are asked by night alone are wrapped."""
    if hasattr(value, "marks"):
        return tuple(value.values)
    return value if count > 1 else [value]


@cache
def asked(side: str, way: str, name: str) -> tuple[Asked, ...]:
    """The tests of that side about a type, those that say most in little time first."""
    found = []
    for module in JUDGES[side, way]:
        for title, test in vars(_module(side, module)).items():
            if not title.startswith("test_") or title in _NEVER:
                continue
            for arguments in _arguments(test):
                about = arguments.get("name") == name or name in ABOUT.get(title, ())
                if about and not inspect.signature(test).parameters.keys() - arguments.keys():
                    rest = [str(value) for key, value in arguments.items() if key != "name"]
                    label = f"{title}[{', '.join(rest)}]" if rest else title
                    found.append((title, Asked(label, lambda test=test, given=arguments: test(**given))))
    found.sort(key=lambda pair: _FIRST.index(pair[0]) if pair[0] in _FIRST else len(_FIRST))
    return tuple(test for _, test in found)


def killer(mutation: Mutation, name: str, side: str, folder: Path) -> str | None:
    """The test of that side that the mutation of that type turns red; None if it survives them all."""
    module = mutation.place.partition(":")[0]
    broken = made_of(name, module, mutated(mutation), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TYPES, name, broken)
        dead = next((test for test in asked(side, mutation.way, name) if test.fails()), None)
    if dead is None:
        return None
    assert _is_green(name, module, dead, folder), f"{dead.title} is red with the codec of {name} as it is"
    return dead.title


_GREEN: dict[tuple[str, str, Asked], bool] = {}


def _is_green(name: str, module: str, test: Asked, folder: Path) -> bool:
    """Whether the test passes with the type made anew of the unchanged source."""
    key = name, module, test
    if key not in _GREEN:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(TYPES, name, made_of(name, module, source_of(module), folder))
            with redirect_stdout(StringIO()):
                test.run()
        _GREEN[key] = True
    return _GREEN[key]
