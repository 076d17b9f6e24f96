"""general.file_type of a directory of several float types: 0 says that every matrix is F32, and was said of a mixture."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from rosetta_ref.convert import convert
from tests.support.damage import edit_weights

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf" / "llama-smollm-tied" / "auto.gguf"


def edited(folder: Path, half: int) -> Path:
    """The golden model in F32, with so many of its matrices, the embedding not among them, in F16."""

    def edit(tensors: dict[str, np.ndarray]) -> None:
        matrices = [name for name, values in tensors.items() if values.ndim > 1 and "embed" not in name]
        assert len(matrices) > half
        for name in tensors:
            kind = np.float16 if name in matrices[:half] else np.float32
            tensors[name] = tensors[name].astype(kind)

    convert(GOLDEN, folder, dtype="f32", keep_blocks=False)
    edit_weights(folder, edit)
    return folder


@pytest.mark.parametrize(("half", "expected"), [(0, "ALL_F32"), (1, "MOSTLY_F16"), (5, "MOSTLY_F16")])
def test_it_is_true(half: int, expected: str, tmp_path: Path) -> None:
    convert(edited(tmp_path / "hf", half), tmp_path / "m.gguf")
    stated = gguf.GGUFReader(tmp_path / "m.gguf").fields["general.file_type"].contents()
    assert gguf.LlamaFileType(stated).name == expected
