"""What ggml's own functions do that nobody expects: each seen in one version, each in a process of its own.

They judge ggml, not this package; they stand here because tests and tools that use ggml as a judge have to know them. With
another version a trap may be gone: such a test then fails as expected, or passes unexpectedly, and neither breaks the build.

Not here: row functions count in `int`, so a call takes at most 2^31 elements; to show it needs 10 GB.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from rosetta_ref.quant import BY_ID, TYPES, libggml
from tests.support import ggml

#: The version that all of them were seen in: that of llama-cpp-python 0.3.36.
SEEN_IN = "0.25.3"


def version() -> str:
    say = ggml.library().ggml_version
    say.restype = ctypes.c_char_p
    return str(say().decode())


pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="processes that die are told by their signals"),
    pytest.mark.xfail(version() != SEEN_IN, reason=f"seen in ggml {SEEN_IN}, this is {version()}", strict=False),
]

#: How a child says that the block's scale, its first two bytes, is zero.
ZERO_SCALE = 7
#: Forks for each case, so that one that dies takes no other with it, and says how each ended: 0, or minus the signal.
_CHILD = """
import ctypes, json, os, sys
path, cases, ZERO_SCALE = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
ggml = ctypes.CDLL(path)
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
ggml.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
ggml.ggml_validate_row_data.restype = ctypes.c_bool
def quantize(kind, bad, with_importance):
    x = (ctypes.c_float * 256)(*[(i * 37 % 101 - 50) / 25 for i in range(256)])
    if bad is not None:
        x[77] = float(bad)
    out = ctypes.create_string_buffer(b"\\xff" * 2048)
    weights = (ctypes.c_float * 256)(*[1.0] * 256) if with_importance else None
    ggml.ggml_quantize_chunk(kind, x, out, 0, 1, 256, weights)
    if out.raw[:2] == bytes(2):
        os._exit(ZERO_SCALE)
def validate(kind):
    ggml.ggml_validate_row_data(kind, ctypes.create_string_buffer(64), 64)
for kind in {case[1] for case in cases if case[0] == "quantize"}:
    ggml.ggml_quantize_init(kind)
ends = []
for name, *arguments in cases:
    child = os.fork()
    if not child:
        globals()[name](*arguments)
        os._exit(0)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(ends))
"""


def ends(*cases: tuple[Any, ...]) -> list[int]:
    """How each call ended."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _CHILD, str(libggml.library()), json.dumps(cases), str(ZERO_SCALE)],
        capture_output=True,
        env=os.environ | {"GGML_NO_BACKTRACE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return list(json.loads(done.stdout))


def valid(name: str, data: bytes) -> bool:
    """What `ggml_validate_row_data` says, where it does not die."""
    check = ggml.library().ggml_validate_row_data
    check.argtypes, check.restype = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t], ctypes.c_bool
    return bool(check(TYPES[name].id, data, len(data)))


# --- encoders that end the process ---------------------------------------------------------------------------------------


# ggml takes seconds to prepare the grid of IQ2_S: by night.
@pytest.mark.parametrize("name", ["IQ2_XS", pytest.param("IQ2_S", marks=pytest.mark.slow), "IQ3_XXS", "IQ3_S"])
def test_grid_encoders_abort_on_nan_inf_and_1e20(name: str) -> None:
    """Their search asserts that it finds a point of the grid."""
    kind = TYPES[name].id
    cases = [("quantize", kind, bad, True) for bad in (None, "nan", "inf", "1e20")]
    assert ends(*cases) == [0, *[-signal.SIGABRT] * 3]


def test_iq2_xxs_makes_zeros_of_a_block_with_nan_inf_or_1e20() -> None:
    """Without a word: all 256 elements are gone. With more than one such number in a block it may abort as its kin do."""
    kind = TYPES["IQ2_XXS"].id
    cases = [("quantize", kind, bad, True) for bad in (None, "nan", "inf", "1e20")]
    assert ends(*cases) == [0, *[ZERO_SCALE] * 3]


def test_three_types_abort_without_an_importance_matrix() -> None:
    """`ggml_quantize_requires_imatrix` says which; only one of them is run here, IQ1_S takes half a minute for its tables."""
    ask = ggml.library().ggml_quantize_requires_imatrix
    ask.restype = ctypes.c_bool
    assert {kind.name for number, kind in BY_ID.items() if ask(number)} == set(libggml.NEEDS_IMPORTANCE)
    cases = [("quantize", TYPES[name].id, None, False) for name in ("IQ2_XXS", "IQ3_S")]
    assert ends(*cases) == [-signal.SIGABRT, 0]


def test_intermediate_types_abort_in_quantize_chunk() -> None:
    """Q8_1 and Q8_K have `quantize_row_*_ref` only."""
    assert ends(*[("quantize", TYPES[n].id, None, False) for n in ("Q8_1", "Q8_K", "Q8_0")]) == [
        -signal.SIGABRT
    ] * 2 + [0]


# --- validation ----------------------------------------------------------------------------------------------------------


def test_validation_of_removed_types_divides_by_zero() -> None:
    """Their size in the table is 0. So a file's type ids are to be checked before anything else is."""
    removed = (4, 5, 31, 32, 33, 36, 37, 38)
    assert ends(*[("validate", number) for number in (*removed, 43, -1)]) == [-signal.SIGFPE] * 8 + [0, 0]


def test_validation_takes_a_finite_f64_for_infinite() -> None:
    """It looks at doubles as floats."""
    assert valid("F64", np.array([1e38]).tobytes())
    assert not valid("F64", np.array([1e300]).tobytes())


def test_validation_does_not_see_values_that_overflow() -> None:
    """Scales are looked at, products are not."""
    large = np.zeros(1, TYPES["Q8_K"].dtype)
    large["d"], large["qs"] = 3e38, 127
    exponent = bytes([254]) + b"\x77" * 16
    for name, data in (("Q8_K", large.tobytes()), ("MXFP4", exponent)):
        assert valid(name, data)
        assert np.isinf(ggml.decode(TYPES[name].id, data, TYPES[name].elements)).all()
        assert np.isinf(TYPES[name].decode(TYPES[name].blocks(data))).all()


def test_mxfp4_decodes_an_exponent_that_validation_refuses() -> None:
    """255 is NaN in the OCP standard; the decoder goes on with the formula."""
    data = bytes([255]) + b"\x00" * 16
    assert not valid("MXFP4", data)
    assert not ggml.decode(39, data, 32).any()


def test_nvfp4_takes_every_scale_byte() -> None:
    """0x7F is NaN in E4M3: here it is 0; the sign bit is not looked at."""
    data = bytes([0x7F, 0x38, 0xB8, 0x00]) + b"\x22" * 32
    assert valid("NVFP4", data)
    values = ggml.decode(40, data, 64).reshape(4, 16)
    assert not values[0].any()
    assert not values[3].any()
    assert values[1].any()
    assert np.array_equal(values[1], values[2])


# --- the rest --------------------------------------------------------------------------------------------------------------


def test_traits_of_a_type_that_does_not_exist() -> None:
    """No check of bounds: a pointer behind the table, which reads as nonsense."""
    get = ggml.library().ggml_get_type_traits
    last, step, after = (ctypes.addressof(get(n).contents) for n in (42, 41, 43))
    assert after - last == last - step


def test_nvfp4_scale_of_large_groups_jumps_to_the_largest() -> None:
    """A group whose amax / 6 is 256 or more gets 448 (0x7E), though 256 itself has a code (0x78)."""
    values = np.zeros((1, 64), np.float32)
    values[0, ::16] = [6 * 240, 6 * 255, 6 * 256, 6 * 300]
    scales = np.frombuffer(ggml.encode(40, values), TYPES["NVFP4"].dtype)["d"][0].tolist()
    assert scales[2:] == [0x7E, 0x7E]
    assert scales[0] == 0x77


def test_iq4_nl_has_two_encoders() -> None:
    """`quantize_row_iq4_nl_ref` does not search; `ggml_quantize_chunk` does, and is the reference."""
    x = np.random.default_rng(1).standard_normal((1, 32 * 64)).astype(np.float32)
    other = np.zeros(64 * 18, np.uint8)
    row = ggml.library().quantize_row_iq4_nl_ref
    row(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(other.ctypes.data), ctypes.c_int64(x.size))
    assert other.tobytes() != ggml.encode(20, x)
    assert TYPES["IQ4_NL"].encode(x).tobytes() == ggml.encode(20, x)


def test_f16_loses_what_a_nan_carries() -> None:
    values = np.array([[0x7FC12345, 0xFF812345]], np.uint32).view(np.float32)
    assert np.frombuffer(ggml.encode(1, values), "<u2").tolist() == [0x7E00, 0xFE00]
