"""What is promised of the extra `fast` beyond right values, which the tests of the codecs ask of both ways to decode and encode."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES, fast
from rosetta_ref.quant.block import BlockType
from tests.support import sweeps
from tests.support.weights import importance, weights

ROOT = Path(__file__).parents[2]
needs_numba = pytest.mark.skipif(not fast.available(), reason="numba is not installed: it is the extra `fast`")

#: Zeros, the smallest, one, the largest, infinities, and NaN of either sign: signalling, quiet, with and without payload.
ODD_HALVES = (
    *(0x0000, 0x8000, 0x0001, 0x3C00, 0xBC00, 0x7BFF, 0x7C00, 0xFC00),
    *(0x7C01, 0xFC01, 0x7E00, 0xFE00, 0x7E55, 0xFDAA, 0x7DFF, 0xFFFF),
)


def both(decode: Callable[[], np.ndarray], patch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """What NumPy and numba make of it."""
    patch.setenv("ROSETTA_FAST", "0")
    by_numpy = decode()
    patch.setenv("ROSETTA_FAST", "1")
    return by_numpy, decode()


def assert_same_bits(by_numpy: np.ndarray, by_numba: np.ndarray) -> None:
    """NaN included: sign and payload."""
    __tracebackhide__ = True
    assert by_numpy.size > 0
    assert by_numba.shape == by_numpy.shape
    places = np.flatnonzero(by_numpy.view(np.uint32) != by_numba.view(np.uint32))
    assert places.size == 0, f"{places.size} of {by_numpy.size} differ, first at {places[0]}"


def odd_pairs(kind: BlockType) -> bytes:
    """Every pair of odd f16 in the first two f16 fields, over random codes: of two NaN one must win."""
    pairs = np.array(list(itertools.product(ODD_HALVES, repeat=2)), "<u2").repeat(64, axis=0)
    blocks = kind.blocks(block_bytes(kind, len(pairs), "random", seed=8)).copy()
    halves = [field for field in kind.dtype.names or () if kind.dtype[field] == np.float16]
    for place, field in enumerate(halves):
        blocks[field] = np.ascontiguousarray(pairs[:, place]).view("<f2")
    return blocks.tobytes()


@needs_numba
@pytest.mark.parametrize("make", [*sweeps.SWEEPS.values(), odd_pairs], ids=[*sweeps.SWEEPS, "odd pairs"])
@pytest.mark.parametrize("name", fast.NAMES)
def test_same_bits(name: str, make: Callable[[BlockType], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    kind = TYPES[name]
    blocks = kind.blocks(make(kind))
    assert_same_bits(*both(lambda: kind.decode(blocks), monkeypatch))


@needs_numba
@pytest.mark.parametrize("name", fast.NAMES)
def test_any_argument(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second block, a block alone, writable blocks; an `out` too small, too large or read-only is left to NumPy to refuse."""
    kind = TYPES[name]
    blocks = kind.blocks(block_bytes(kind, 64, "random", seed=9))
    for given in (blocks[::2], blocks[::-1], blocks[5], blocks.copy(), blocks.reshape(4, 4, 4)):
        assert_same_bits(*both(lambda given=given: kind.decode(given), monkeypatch))
    monkeypatch.setenv("ROSETTA_FAST", "1")
    for size in (60, 80):
        with pytest.raises(ValueError):
            kind.decode(blocks, out=np.zeros(size * kind.elements, np.float32))
    readonly = np.zeros(64 * kind.elements, np.float32)
    readonly.flags.writeable = False
    with pytest.raises(ValueError):
        kind.decode(blocks, out=readonly)


def both_encoded(encode: Callable[[], np.ndarray], patch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    by_numpy, by_numba = both(encode, patch)
    assert by_numpy.dtype == by_numba.dtype
    assert by_numpy.shape == by_numba.shape
    return by_numpy.tobytes(), by_numba.tobytes()


@needs_numba
@pytest.mark.parametrize("name", fast.ENCODED)
def test_any_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second row, rows backwards, columns first, float64, read-only, a list, one block, none; a matrix of float64."""
    encode = TYPES[name].encode
    rows = weights("mixed scales", 12, 512, seed=1)
    readonly = rows.copy()
    readonly.flags.writeable = False
    matrix = importance("activations", 512, seed=1)
    given = [rows[::2], rows[::-1], np.asfortranarray(rows), rows.astype(np.float64), readonly, rows.tolist(), rows[:0]]
    for values in (*given, rows.reshape(2, 3, 2, 512), rows[0]):
        for weighed in (None, matrix, matrix.astype(np.float64)):
            by_numpy, by_numba = both_encoded(lambda v=values, w=weighed: encode(v, w), monkeypatch)
            assert by_numba == by_numpy
    one_block = rows[0, : TYPES[name].elements]
    by_numpy, by_numba = both_encoded(lambda: encode(one_block), monkeypatch)
    assert by_numba == by_numpy != b""


@needs_numba
@pytest.mark.parametrize("name", fast.ENCODED)
def test_any_bits_as_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random patterns, NaN and Inf among them, also as weights."""
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 2**32, (500, 512), dtype=np.uint32).view(np.float32)
    rows[::7, 3] = np.inf
    assert np.isnan(rows).any()
    for matrix in (None, rng.integers(0, 2**32, 512, dtype=np.uint32).view(np.float32)):
        by_numpy, by_numba = both_encoded(lambda w=matrix: TYPES[name].encode(rows, w), monkeypatch)
        assert by_numba == by_numpy


@needs_numba
@pytest.mark.parametrize("name", fast.ENCODED)
def test_threads_do_not_meet(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels let go of Python's lock: pieces that four threads encode at once are those of the whole."""
    monkeypatch.setenv("ROSETTA_FAST", "1")
    rows = weights("heavy tails", 64, 2816, seed=3)
    for matrix in (None, importance("activations", 2816, seed=3)):
        whole = TYPES[name].encode(rows, matrix)
        with ThreadPoolExecutor(4) as pool:
            pieces = list(
                pool.map(lambda first, w=matrix: TYPES[name].encode(rows[first : first + 8], w), range(0, 64, 8))
            )
        assert np.concatenate(pieces).tobytes() == whole.tobytes()


def run(code: str, **environment: str) -> str:
    """What that code prints in a process of its own."""
    setup = "import sys, numpy as np; from rosetta_ref.quant import TYPES, fast; kind = TYPES['Q4_K']\n"
    inherited = {name: value for name, value in os.environ.items() if name != "ROSETTA_FAST"}
    done = subprocess.run(
        [sys.executable, "-c", setup + code],
        env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


LITTLE = "kind.decode(np.zeros(2000, kind.dtype)); print('numba' in sys.modules);"
MUCH = "fast.PATIENCE = 1 << 20; [kind.decode(np.zeros(2000, kind.dtype)) for _ in range(4)]; print('numba' in sys.modules)"


@needs_numba
def test_numba_is_imported_when_it_pays() -> None:
    assert run(LITTLE + MUCH).split() == ["False", "True"]
    assert run(LITTLE, ROSETTA_FAST="1") == "True"
    assert run(LITTLE + MUCH, ROSETTA_FAST="0").split() == ["False", "False"]


ENCODE = "kind.encode(np.zeros((8, 2048)));"
ENCODE_MUCH = "fast.ENCODING_PATIENCE = 1 << 16; [kind.encode(np.zeros((8, 2048))) for _ in range(5)]; print('numba' in sys.modules)"


@needs_numba
def test_numba_is_imported_when_encoding_pays() -> None:
    """Which is sooner than for decoding, and counted apart."""
    little = f"{ENCODE} print('numba' in sys.modules);"
    assert run(little + ENCODE_MUCH).split() == ["False", "True"]
    assert run(little, ROSETTA_FAST="1") == "True"
    assert run(little + ENCODE_MUCH, ROSETTA_FAST="0").split() == ["False", "False"]


def test_without_numba_numpy_encodes() -> None:
    without = "sys.modules['numba'] = None\n"
    assert run(f"{without}fast.ENCODING_PATIENCE = 0; {ENCODE} print('done')") == "done"
    code = f"try: {ENCODE}\nexcept fast.NoNumbaError as error: print(error)"
    assert "install rosetta-ref[fast]" in run(without + code, ROSETTA_FAST="1")


def test_without_numba() -> None:
    """NumPy decodes; who insists is told what to install."""
    without = "sys.modules['numba'] = None\n"
    assert run(without + "fast.PATIENCE = 0; print(kind.decode(np.zeros(2, kind.dtype)).any())") == "False"
    code = "try: kind.decode(np.zeros(2, kind.dtype))\nexcept fast.NoNumbaError as error: print(error)"
    assert "install rosetta-ref[fast]" in run(without + code, ROSETTA_FAST="1")


def test_numba_that_does_not_go_with_this_numpy(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')")
    code = (
        f"sys.path.insert(0, {str(tmp_path)!r}); fast.PATIENCE = 0; print(kind.decode(np.zeros(2, kind.dtype)).any())"
    )
    assert run(code) == "False"
