"""Small models of each kind go around the circle, and llama.cpp gives the same logits before and after, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from rosetta_ref.convert import convert
from tests.support import llama
from tests.support.independent import assert_same_gguf

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "fixtures" / "golden"
FILES = {
    "demo": ROOT / "rosetta_ref" / "demo" / "tiny.gguf",
    **{path.stem: path for path in sorted((GOLDEN / "apr-rosetta" / "source").glob("*.gguf"))},
    **{path.parent.name: path for path in sorted((GOLDEN / "convert-hf").glob("*/auto.gguf"))},
}
TOKENS = [1, 5, 9, 33, 2, 60, 7, 88, 100, 101, 45, 46, 47, 48, 49, 250]
CHAINS = {"apr-hf": ["m.apr", "hf"], "hf-apr": ["hf", "m.apr"]}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("name", FILES)
def test_same_logits_after_the_circle(name: str, chain: str, tmp_path: Path) -> None:
    source = FILES[name]
    for target in [*CHAINS[chain], "back.gguf"]:
        convert(source, tmp_path / target)
        source = tmp_path / target
    assert_same_gguf(found=source, expected=FILES[name])
    expected = llama.logits(FILES[name], TOKENS)
    assert expected.std() > 1e-3
    assert llama.logits(source, TOKENS).tobytes() == expected.tobytes()
