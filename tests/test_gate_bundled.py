"""The gate on the bundled converters: every case, with nothing unexpected. `pytest --converter ...` runs it on yours."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from rosetta_ref.architectures.models import MODELS
from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.command import Unavailable
from rosetta_ref.gate.findings import CORROBORATED, Result
from rosetta_ref.gate.report import expectations
from rosetta_ref.gate.run import request
from rosetta_ref.gate.run.engine import run
from rosetta_ref.gate.run.request import Request


def asked_of(name: str, **more: object) -> Request:
    """The run of a bundled converter, as the command line would make it."""
    try:
        converter = named.resolve(name)
    except Unavailable as error:
        pytest.skip(str(error))
    file = converter.entry.expectations
    return Request(converter, expected=expectations.load(file) if file is not None else [], **more)  # type: ignore[arg-type]


def unexpected(asked: Request, results: Sequence[Result]) -> list[str]:
    return list(asked.judge(results, whole=True).lines())


@pytest.mark.parametrize(("name", "least"), [("reference", 2400), ("gguf-py", 900), ("llama-quantize", 19)])
def test_nothing_is_unexpected(name: str, least: int) -> None:
    asked = asked_of(name)
    results = run(asked.converter, samples=asked.samples(0), jobs=1)
    assert unexpected(asked, results) == []
    assert len(results) >= least
    if name == "reference":
        assert {result.outcome for result in results} == {CORROBORATED}


@pytest.mark.slow
@pytest.mark.parametrize("name", bundled.NAMES)
def test_nothing_is_unexpected_with_ten_seeds(name: str) -> None:
    """Of those that have to be installed, only whether the gate gets through: what they do wrong is in docs/trophies."""
    asked = asked_of(name, profile="nightly")
    results = request.first_bad(
        result
        for seed in asked.seeds
        for result in run(asked.converter, seed=seed, samples=asked.samples(seed), jobs=os.cpu_count())
    )
    found = asked.judge(results, whole=True)
    assert found.errors == []
    if name in ("reference", "gguf-py", "llama-quantize"):
        assert list(found.lines()) == []


def test_the_reference_claims_every_architecture_that_it_has_a_record_of() -> None:
    claimed = bundled.entry("reference").architectures
    assert claimed is not None
    assert {"llama", "qwen2"} < {*claimed} == {*MODELS}
