"""A pair of files below 1 MB takes `verify` at most 10 s of CPU, children counted, and 256 MB of added resident memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref import limits
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference import greedy as greedily
from rosetta_ref.inference.engine import NumpyEngine
from rosetta_ref.inference.forward import attend
from rosetta_ref.inference.meter import AnswerLimitError, Meter
from rosetta_ref.sandbox import process
from rosetta_ref.verify import Report, UnreadableSourceError, verify
from tests.support import asking

SECONDS, MEGABYTES, FILE = 10, 256, 1 << 20
WORDS = [*asking.alphabet(), *(f"w{i}" for i in range(30_000))]
_LOOPS = "{% for i in range(99999) %}{% for j in range(25) %}{% endfor %}{% endfor %}a"
#: Models of which every number is true, and which take much all the same.
COSTLY: dict[str, dict[str, Any]] = {
    "many layers": {"layers": 1000},
    "many heads": {"heads": 50_000, "groups": 1, "kind": 1},
    "some heads, many scores": {"heads": 700, "groups": 1},
    "a wide inner layer": {"inner": 70_000, "kind": 1},
    "many rows": {"vocabulary": 200_000, "kind": 1},
    "many words": {"tokens": WORDS, "kind": 1},
    "many control words": {"tokens": WORDS, "kind": 1, "keys": {"tokenizer.ggml.token_type": asking.whole([3] * len(WORDS))}},
    "some thousand words": {"tokens": WORDS[:4000], "kind": 1},
    "a long prompt": {"heads": 50, "template": "{{ 'ab' * 1900 }}"},
    "a long text": {"template": "{{ 'ab ' * 1000000 }}"},
    "layers and a slow template": {"layers": 200, "template": _LOOPS},
}  # fmt: skip
#: What is asked in every run; the others take seconds.
_QUICK = ("many heads", "a wide inner layer", "many rows", "some thousand words")


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _status(line: str) -> int:
    """Kilobytes of a line of /proc/self/status."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(line))


@contextmanager
def _within() -> Iterator[None]:
    proc = Path("/proc/self/clear_refs")
    measured = proc.exists()
    if measured:
        proc.write_text("5")  # the peak begins anew
        resident = _status("VmRSS")
    began = _cpu()
    yield
    process._pool.close()  # the system counts children when they have ended
    assert _cpu() - began < SECONDS
    if measured:
        assert _status("VmHWM") - resident < MEGABYTES * 1000


def _outcome(source: Path, target: Path) -> Report | RosettaError:
    assert max(source.stat().st_size, target.stat().st_size) < FILE
    try:
        with np.errstate(all="ignore"):
            return verify(source, target)
    except RosettaError as error:
        return error


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in _QUICK else pytest.mark.slow) for name in COSTLY]
)
def test_a_pair_of_costly_models(name: str, tmp_path: Path) -> None:
    """Both are costly, so that the limits of both are reached."""
    source = asking.gguf(tmp_path / "source.gguf", **COSTLY[name])
    target = asking.gguf(tmp_path / "target.gguf", **COSTLY[name], seed=1)
    plain = asking.gguf(tmp_path / "plain.gguf")
    with _within():
        outcome = _outcome(source, target)
    if isinstance(outcome, RosettaError):
        assert str(source) in str(outcome)
    with _within():
        outcome = _outcome(plain, target)
    assert isinstance(outcome, Report)
    assert not outcome.same


def test_layers_are_stopped_by_the_clock(tmp_path: Path) -> None:
    """The numbers of each layer are few: only time tells."""
    source = asking.gguf(tmp_path / "source.gguf", layers=60)
    target = asking.gguf(tmp_path / "target.gguf", layers=60, seed=1)
    with limits.raised({"answer-seconds": 0.1}):
        with pytest.raises(UnreadableSourceError, match=r"source\.gguf: its answers take more than 0.1 s of CPU time"):
            verify(source, target)
        with NumpyEngine(target) as engine, pytest.raises(AnswerLimitError) as caught:
            list(engine.logits([[1] * 100] * 200))
    assert caught.value.file == target


def test_a_target_that_takes_too_long_is_a_finding(tmp_path: Path) -> None:
    source = asking.gguf(tmp_path / "source.gguf")
    target = asking.gguf(tmp_path / "target.gguf", inner=70_000, kind=1)
    report = verify(source, target)
    (failure,) = [one for one in report.failures if one.kind == "load"]
    assert str(target) in failure.detail
    assert "answer-bytes" in failure.detail


def test_limits_grow_with_the_weights() -> None:
    small, large = Meter(1 << 19), Meter(100 << 20)
    assert small.allowed == limits.of("answer-seconds")
    assert large.allowed > 100 * small.allowed
    large.require(1 << 30, "values")
    with pytest.raises(AnswerLimitError):
        small.require(1 << 30, "values")


def test_a_long_text_of_the_users_own_is_no_fault_of_the_model(tmp_path: Path) -> None:
    source, target = (asking.gguf(tmp_path / f"{i}.gguf", seed=i) for i in range(2))
    text = tmp_path / "text.txt"
    text.write_text("one two three " * 3000)
    with limits.raised({"answer-bytes": 5 << 20}):
        report = verify(source, target, text=text, blame=False, count=2)
    assert {failure.kind for failure in report.failures} <= {"logits", "top1", "text", "silent"}


def test_attention_in_parts_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    q, k, v = (random.standard_normal((40, heads, 4)) for heads in (6, 2, 2))
    whole = [attend(q, k, v), attend(q[25:], k, v)]
    monkeypatch.setattr("rosetta_ref.inference.forward._SCORES", 6 * 40 * 8 * 7)
    parts = [attend(q, k, v), attend(q[25:], k, v)]
    for one, other in zip(whole, parts, strict=True):
        assert np.abs(one - other).max() < 1e-14


def test_drafts_that_are_never_right_come_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check of a draft settled one token, so that an answer of n tokens took n passes over all of it."""
    passes = []
    with NumpyEngine(asking.gguf(tmp_path / "m.gguf", layers=2, width=8, head=8), precise=True) as engine:
        expected = engine.generate([[1, 2, 3]], 40)
        best = greedily._best

        def counted(*args: Any) -> Any:
            passes.append(1)
            return best(*args)

        def wrong(model: Any, prompts: Any, counts: Any, stops: Any, dtype: Any = np.float32) -> list[list[int]]:
            if dtype is np.float64:
                return right(model, prompts, counts, stops, dtype)
            return [[255] * count for count in counts]

        right = greedily.greedy
        monkeypatch.setattr(greedily, "_best", counted)
        monkeypatch.setattr(greedily, "greedy", wrong)
        assert engine.generate([[1, 2, 3]], 40) == expected
    assert len(passes) < 12


def test_time_is_counted_by_the_thread_once() -> None:
    meter = Meter()
    with meter.running(), meter.running():
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
    assert 0.05 <= meter.spent < 0.1
