"""aprender issue 177, re-created: an APR loader that takes every code it does not know for F32.

The writer of the day labelled Q4_K and Q6_K as 12 and 14, the loader beside it knew 8, 9 and 10. So raw blocks were
read as floats, and a share of their words are NaN: 0.5 to 0.8 % in a Q4_K tensor, 0.15 to 0.3 % in a Q6_K one.
"""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import pytest
import safetensors

from rosetta_ref.convert import convert
from rosetta_ref.formats import safetensors as safetensors_format
from rosetta_ref.validate import validate
from tests.support import smollm
from tests.support.independent import save_safetensors

#: What the loader of that day knew; for everything else it said F32.
KNOWN_CODES = {0: "F32", 1: "F16"}
SHARES = {"Q4_K": (0.005, 0.008), "Q6_K": (0.0015, 0.003)}


def wrong_converter(source: Path, target: Path) -> None:
    """APR to SafeTensors as it was: the code of a tensor is looked up, and what is not found is F32."""
    data = source.read_bytes()
    count, index, start = *struct.unpack_from("<I", data, 8), *struct.unpack_from("<QQ", data, 24)
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, index)
        name = data[index + 2 : index + 2 + length].decode()
        code, dims = struct.unpack_from("<BB", data, index + 2 + length)
        shape = struct.unpack_from(f"<{dims}Q", data, index + 4 + length)
        offset, size = struct.unpack_from("<QQ", data, index + 4 + length + 8 * dims)
        index += 4 + length + 8 * dims + 16
        payload = data[start + offset : start + offset + size]
        if code in KNOWN_CODES:
            tensors[name] = (KNOWN_CODES[code], shape, payload)
        else:
            tensors[name] = ("F32", (size // 4,), payload[: size // 4 * 4])
    save_safetensors(target, tensors, {"format": "pt"})


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("issue-177")
    convert(smollm.variant("Q4_K_M"), folder / "model.apr")
    wrong_converter(folder / "model.apr", folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    return folder / "model.safetensors"


@cache
def nan_words(path: Path) -> dict[str, int]:
    loaded = safetensors.deserialize(path.read_bytes())
    return {name: int(np.isnan(np.frombuffer(t["data"], "<f4")).sum()) for name, t in loaded if t["dtype"] == "F32"}


def test_nan_counts_are_those_of_the_raw_words(damaged: Path) -> None:
    found = nan_words(damaged)
    blocks = [t for t in gguf.GGUFReader(smollm.variant("Q4_K_M")).tensors if t.tensor_type.name in SHARES]
    blocks = blocks[:60]
    assert {t.tensor_type.name for t in blocks} == set(SHARES)
    for tensor in blocks:
        words = np.isnan(np.ascontiguousarray(tensor.data).reshape(-1).view("<f4"))
        least, most = SHARES[tensor.tensor_type.name]
        assert found[tensor.name] == words.sum()
        assert least < words.mean() < most, tensor.name
    # The one figure that a real run of the released tool printed.
    assert found["blk.0.ffn_down.weight"] == 368


def test_validation_refuses_that_output(damaged: Path) -> None:
    wrong = {name for name, count in nan_words(damaged).items() if count}
    assert len(wrong) > 20
    with safetensors_format.read(damaged) as archive:
        findings = validate(archive)
    assert wrong <= {finding.tensor for finding in findings}


# That the right conversion keeps each bit is asked of the real model by test_real_model.
@pytest.mark.slow
def test_the_right_conversion_has_no_nan(damaged: Path, tmp_path: Path) -> None:
    convert(damaged.with_name("model.apr"), tmp_path / "hf")
    counts = [nan_words(path) for path in tmp_path.glob("hf/*.safetensors")]
    assert sum(map(len, counts)) == 272
    assert not any(count for part in counts for count in part.values())
