"""The types without an encoder here: libggml does it and is named, or they are refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rosetta_ref
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import gguf
from rosetta_ref.quant import TYPES, libggml
from rosetta_ref.quant.block import RaggedRowError
from rosetta_ref.quant.encoding import ImportanceError
from rosetta_ref.quant.grid import WHY_NOT
from rosetta_ref.recode import NoEncoderError, encoded
from tests.support import ggml

VALUES = np.random.default_rng(2).standard_normal((4, 512)).astype(np.float32)
IMPORTANCE = np.random.default_rng(3).random(512).astype(np.float32) + np.float32(0.1)


def weight(values: np.ndarray = VALUES) -> Tensor:
    return Tensor.of("blk.0.ffn_up.weight", TYPES["F32"], values.shape, values)


def test_the_types_without_an_encoder() -> None:
    assert set(WHY_NOT) == {"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M"}
    assert all(TYPES[name].encode is None for name in WHY_NOT)


#: IQ2_XXS is the quickest; the others take up to 8 seconds each, by night.
EACH = [name if name == "IQ2_XXS" else pytest.param(name, marks=pytest.mark.slow) for name in WHY_NOT]


@pytest.mark.parametrize("name", EACH)
def test_the_library_in_its_own_process_gives_the_same_bytes(name: str) -> None:
    encode = libggml.encoder(TYPES[name])
    assert encode is not None
    made = encode(VALUES, IMPORTANCE)
    assert made.shape == (4, 2)
    assert made.tobytes() == ggml.encode(TYPES[name].id, VALUES, IMPORTANCE)
    assert np.corrcoef(TYPES[name].decode(made).reshape(-1), VALUES.reshape(-1))[0, 1] > 0.8
    if name in libggml.NEEDS_IMPORTANCE:
        with pytest.raises(ImportanceError, match=name):
            encode(VALUES)
    elif name.startswith("IQ3"):  # the others need seconds to make their tables, in each process
        assert encode(VALUES).tobytes() == ggml.encode(TYPES[name].id, VALUES)
    with pytest.raises(ImportanceError, match="512"):
        encode(VALUES, IMPORTANCE[:256])
    with pytest.raises(RaggedRowError, match=name):
        encode(VALUES[:, :300])
    assert encode(VALUES[:0], IMPORTANCE).shape == (0, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20])
def test_where_the_library_ends_its_process_ours_goes_on(bad: float) -> None:
    """Seen in the ggml of llama-cpp-python 0.3.36: an assertion that calls abort()."""
    encode = libggml.encoder(TYPES["IQ3_S"])
    assert encode is not None
    values = VALUES.copy()
    values[2, 77] = bad
    with pytest.raises(libggml.LibraryError, match="IQ3_S"):
        encode(values)


def test_convert_says_who_encoded(tmp_path: Path) -> None:
    gguf.write(Archive("gguf", {}, {"blk.0.ffn_up.weight": weight()}), tmp_path / "in.gguf")
    report = rosetta_ref.convert(tmp_path / "in.gguf", tmp_path / "out.gguf", type="iq3_s", keep_names=True)
    assert [note for note in report.notes if "libggml of llama-cpp-python" in note and "not by this package" in note]
    with gguf.read(tmp_path / "out.gguf") as archive:
        assert archive.tensors["blk.0.ffn_up.weight"].data.tobytes() == ggml.encode(TYPES["IQ3_S"].id, VALUES)
    report = rosetta_ref.convert(tmp_path / "in.gguf", tmp_path / "own.gguf", type="iq4_xs", keep_names=True)
    assert not [note for note in report.notes if "libggml" in note]
    with gguf.read(tmp_path / "own.gguf") as archive:
        assert archive.tensors["blk.0.ffn_up.weight"].data.tobytes() == ggml.encode(TYPES["IQ4_XS"].id, VALUES)


@pytest.mark.parametrize("name", list(WHY_NOT))
def test_refused_with_the_reason_where_there_is_no_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libggml, "library", lambda: None)
    with pytest.raises(NoEncoderError, match=f"{name} has no encoder here: .*search.*llama-cpp-python"):
        encoded(weight(), name)
