"""The files of aprender 0.25.0, and the bug of its issue 177: APR blocks read as floats.

The sources are read with gguf-py, so nothing that is under test says what to expect.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from rosetta_ref.architectures.aprender import from_apr
from rosetta_ref.formats import apr
from rosetta_ref.formats.apr import errors

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "apr-rosetta"
READABLE = ["llama-f32", "llama-q4km", "qwen2-f32", "qwen2-q4km"]
MIX = GOLDEN / "aprender-0.25.0" / "llama-mix.apr"


def source(name):
    """Tensors of the GGUF file by name: type, shape in row-major order, bytes, and values."""
    return {
        tensor.name: (
            tensor.tensor_type.name,
            tuple(int(n) for n in reversed(tensor.shape)),
            tensor.data.tobytes(),
            gguf.quants.dequantize(tensor.data, tensor.tensor_type),
        )
        for tensor in gguf.GGUFReader(GOLDEN / "source" / f"{name}.gguf").tensors
    }


@pytest.mark.parametrize("name", READABLE)
def test_every_tensor_is_that_of_the_source(name):
    expected = source(name)
    with apr.read(GOLDEN / "aprender-0.25.0" / f"{name}.apr") as archive:
        assert archive.tensors.keys() - expected.keys() <= {"output.weight"}  # a tied output is stored as a copy
        assert expected.keys() <= archive.tensors.keys()
        carried = 0
        for tensor_name, (kind, shape, data, values) in expected.items():
            tensor = archive.tensors[tensor_name]
            assert tensor.shape == shape
            if tensor.type.name == kind:
                assert tensor.data.tobytes() == data, tensor_name
                carried += 1
            else:
                assert tensor.type.name == "F32"
                np.testing.assert_array_equal(tensor.data.view("<f4"), values.reshape(-1), err_msg=tensor_name)
        assert carried >= 10
        for extra in archive.tensors.keys() - expected.keys():
            assert archive.tensors[extra].data.tobytes() == archive.tensors["token_embd.weight"].data.tobytes()
        assert any("turned around" in note for note in archive.notes)


def test_blocks_under_the_code_of_f32_are_refused_and_named():
    with pytest.raises(errors.SizeMismatchError, match="Q5_0, Q5_K would fit") as caught:
        apr.read(MIX)
    assert caught.value.tensor == "blk.0.ffn_down.weight"
    assert caught.value.file == MIX


def test_the_rest_of_such_a_file_can_be_looked_at():
    expected = source("llama-mix")
    with apr.read(MIX, lenient=True) as archive:
        assert list(archive.ill_fitting) == ["blk.0.ffn_down.weight"]
        assert archive.tensors["blk.0.ffn_down.weight"].data.tobytes() == expected["blk.0.ffn_down.weight"][2]
        wrong = []
        for name, (kind, _, data, values) in expected.items():
            tensor = archive.tensors[name]
            if name in archive.ill_fitting:
                continue
            same = (
                tensor.data.tobytes() == data
                if tensor.type.name == kind
                else np.array_equal(tensor.data.view("<f4"), values.reshape(-1))
            )
            wrong += [] if same else [name]
        assert wrong == ["blk.0.attn_v.weight"]  # Q5_0 with its lanes in the wrong order


def raw_nans(data):
    """NaN words of bytes taken for little-endian float32."""
    whole = np.frombuffer(data, np.uint8)
    return int(np.isnan(whole[: len(whole) // 4 * 4].view("<f4")).sum())


#: The loader of the issue's day: what it knew, and F32 for everything else.
KNOWN_TO_THE_LOADER = {0: "F32", 8: "Q4", 9: "Q8", 10: "Q8_0"}


def loaded_as_the_bug_did(code, data):
    """Any code that is not in the old table was taken for F32."""
    if KNOWN_TO_THE_LOADER.get(code, "F32") != "F32":
        raise AssertionError("not the case at hand")
    return np.frombuffer(data[: len(data) // 4 * 4], "<f4")


@pytest.mark.parametrize(("name", "expected"), [("llama-q4km", 13), ("llama-mix", 8)])
def test_issue_177_on_the_file_that_shows_it(name, expected):
    """`Tensor 'blk.0.attn_k.weight' contains 13 NaN values`, said aprender 0.25.0 of the one, 8 of the other."""
    codes = {"Q4_K": 12, "Q6_K": 14}
    with apr.read(GOLDEN / "aprender-0.25.0" / f"{name}.apr", lenient=True) as archive:
        tensor = archive.tensors["blk.0.attn_k.weight"]
        garbage = loaded_as_the_bug_did(codes[tensor.type.name], tensor.data.tobytes())
        assert np.isnan(garbage).sum() == expected == raw_nans(source(name)["blk.0.attn_k.weight"][2])
        assert np.isfinite(source(name)["blk.0.attn_k.weight"][3]).all()


@pytest.mark.parametrize("name", ["llama-q4km", "qwen2-q4km"])
def test_issue_177_on_every_quantised_tensor(name):
    """The counts are those of the raw words: half a percent of them in Q4_K, a quarter in Q6_K."""
    shares = {"Q4_K": [], "Q6_K": []}
    codes = {"Q4_K": 12, "Q6_K": 14}
    with apr.read(GOLDEN / "aprender-0.25.0" / f"{name}.apr") as archive:
        for tensor_name, (kind, _, data, _) in source(name).items():
            if kind in shares:
                garbage = loaded_as_the_bug_did(codes[kind], archive.tensors[tensor_name].data.tobytes())
                assert np.isnan(garbage).sum() == raw_nans(data), tensor_name
                shares[kind].append(np.isnan(garbage).mean())
    assert all(shares.values())
    assert 0.002 < np.mean(shares["Q4_K"]) < 0.012
    assert 0.0005 < np.mean(shares["Q6_K"]) < 0.006


#: What that release did not carry over, or named after the architecture.
LOST = {"general.name", "tokenizer.ggml.pre", "tokenizer.ggml.token_type"}


@pytest.mark.parametrize("name", READABLE)
def test_the_model_is_described_as_in_the_source(name):
    fields = gguf.GGUFReader(GOLDEN / "source" / f"{name}.gguf").fields
    expected = {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}
    with apr.read(GOLDEN / "aprender-0.25.0" / f"{name}.apr") as archive:
        found = {key: value.plain() for key, value in from_apr(archive).metadata.items()}
        assert {key for key, value in expected.items() if found.get(key) != value} == LOST
        assert any("tokenizer.pre_type" in note for note in archive.notes)
