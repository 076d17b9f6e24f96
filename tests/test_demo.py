"""The demo: its model, its verdict, and that the verdict can be a bad one."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import gguf
import numpy as np
import pytest
from rich.console import Console

from rosetta_ref import demo
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf as gguf_format
from tests.support import llama


def test_model_in_the_package_is_small_has_many_types_and_runs() -> None:
    path = demo.tiny_model()
    assert path.stat().st_size < 400_000
    assert len({t.tensor_type for t in gguf.GGUFReader(path).tensors}) >= 13
    with llama.Model(path) as model:
        assert len(model.generate(model.tokenize("the answer"), 8)) > 0


def test_demo_shows_that_every_bit_came_back() -> None:
    out = StringIO()
    assert demo.main(demo.tiny_model(), console=Console(file=out, width=120)) == 0
    text = out.getvalue()
    assert all(title in text for title, _ in demo.STEPS)
    assert "20 of 20 tensors" in text


def test_demo_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(demo.tiny_model(), json=True) == 0
    record = json.loads(capsys.readouterr().out)
    assert [step["step"] for step in record["steps"]] == [title for title, _ in demo.STEPS]
    assert record["verdict"]["holds"]
    assert record["verdict"]["tensors_equal"] == 20


def changed_bit(tensor: Tensor) -> Tensor:
    data = np.array(tensor.data)
    data[-1] ^= 1
    return Tensor.of(tensor.name, tensor.type, tensor.shape, data)


def reversed_order(archive: Archive) -> Archive:
    return replace(archive, tensors=dict(reversed(archive.tensors.items())))


CHANGES = {
    "a bit": lambda a: replace(
        a, tensors=a.tensors | {"output_norm.weight": changed_bit(a.tensors["output_norm.weight"])}
    ),
    "a tensor less": lambda a: replace(a, tensors=dict(list(a.tensors.items())[1:])),
    "another order": reversed_order,
    "a key more": lambda a: replace(a, metadata=a.metadata | {"new": Value.scalar(Kind.U8, 1)}),
    "a type": lambda a: replace(a, metadata=a.metadata | {"llama.block_count": Value.scalar(Kind.U64, 2)}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_verdict_sees(what: str) -> None:
    with gguf_format.read(demo.tiny_model()) as archive:
        assert demo.judge(archive, archive).holds
        assert not demo.judge(archive, CHANGES[what](archive)).holds


def test_nothing_compared_is_an_error() -> None:
    with pytest.raises(demo.EmptyProofError):
        demo.judge(Archive("gguf"), Archive("gguf"))


def test_default_model_is_there() -> None:
    assert isinstance(demo.default_model(), Path)
    assert demo.default_model().exists()
