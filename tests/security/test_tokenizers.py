"""A tokenizer.json is nearly a program: the library `tokenizers` reads it in another process, within limits, and may die there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from rosetta_ref import limits, sandbox
from rosetta_ref.inference.keys import ParameterError
from rosetta_ref.inference.text import BrokenTokenizerError, Text, TokenizerLimitError, text_of_directory
from rosetta_ref.sandbox import process
from tests.support import asking

ASKED = "What is 2+2? aab " + "a" * 60 + "!"
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
NESTED = '{"type":"Sequence","normalizers":[' * 120 + '{"type":"NFD"}' + "]}" * 120
#: Refused when they are read.
UNREADABLE = {
    "an id beyond 32 bits": asking.tokenizer(model={"type": "BPE", "vocab": {"a": 2**32}, "merges": []}),
    "a score that is no number": asking.tokenizer(
        model={"type": "Unigram", "vocab": [["a", float("nan")]], "unk_id": 0}
    ),
    "an unknown token that is not there": asking.tokenizer(
        model={"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 7}
    ),
    "a merge of no token": asking.tokenizer(model={"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "q"]]}),
    "a table that makes it panic": asking.tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "no UTF-8": b'{"a": "\xff"}',
    "depth": asking.tokenizer().replace(b'"normalizer": null', f'"normalizer": {NESTED}'.encode()),
    "nothing": b"",
    "brackets": b"[" * 1_000_000,
    "a number of many digits": b'{"a": ' + b"1" * 1_000_000 + b"}",
}
#: Refused by a panic or an error when they are asked.
PANICS = {
    "a pattern that backtracks": asking.tokenizer(
        pre_tokenizer=SPLIT | {"pattern": {"Regex": "^(([a-z ?0-9+W])+.)+[A-Z]([a-z])+$"}}
    ),
    "parts of no length": asking.tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "no unknown token": asking.tokenizer(model={"type": "WordLevel", "vocab": {"a": 2**32 - 1}, "unk_token": "u"}),
}
_TEN = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
_MANY = {"SpecialToken": {"id": "a", "type_id": 0}}
#: Beyond memory or length when they are asked.
GREEDY = {
    "texts that grow tenfold": asking.tokenizer(normalizer={"type": "Sequence", "normalizers": [_TEN] * 30}),
    "20,000 times 20,000 tokens around a text": asking.tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [_MANY] * 20_000 + [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"a": {"id": "a", "ids": [0] * 20_000, "tokens": ["a"] * 20_000}},
        }
    ),
}
#: Asks for much, and gets nothing of it.
HARMLESS = {
    "padding to 10^9": asking.tokenizer(
        padding={
            "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "a",
        }
    ),
    "truncation to nothing": asking.tokenizer(
        truncation={"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0}
    ),
}  # fmt: skip


def _text(data: bytes) -> Text:
    return Text({"tokenizer.json": data}, Path("folder"))


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_the_library_refuses(name: str) -> None:
    with pytest.raises(BrokenTokenizerError, match=r"tokenizer\.json: ") as caught:
        _ = _text(UNREADABLE[name]).tokens
    assert caught.value.file == Path("folder")
    assert len(str(caught.value)) < 2000
    assert sandbox.tokenizers_refuses(UNREADABLE[name])


@pytest.mark.parametrize("name", PANICS)
def test_a_file_that_makes_the_library_panic(name: str) -> None:
    """A panic is no Exception: it went through every `except Exception`, and told the user of Rust."""
    with pytest.raises(BrokenTokenizerError, match=r"tokenizer\.json: "):
        _text(PANICS[name]).encode(ASKED)
    assert _text(asking.tokenizer()).encode("aab") == [2, 1]


@pytest.mark.parametrize("name", GREEDY)
def test_a_file_that_takes_too_much(name: str) -> None:
    assert sandbox.tokenizers_refuses(GREEDY[name]) is None
    with pytest.raises(TokenizerLimitError, match=r"tokenizer\.json: it takes more than .* MiB of memory") as caught:
        _text(GREEDY[name]).encode(ASKED)
    assert caught.value.file == Path("folder")
    assert _text(asking.tokenizer()).encode("aab") == [2, 1]


def test_a_table_that_asks_for_gigabytes() -> None:
    """The library allocates what the first bytes say, and ends its process where it does not get that."""
    data = asking.tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="})
    assert "memory" in (sandbox.tokenizers_refuses(data) or "")


def test_a_token_that_reads_as_a_book() -> None:
    data = asking.tokenizer(decoder={"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 900_000})
    with pytest.raises(TokenizerLimitError, match="characters"):
        _text(data).decode_all([[0]] * 100)


def test_a_file_that_does_not_end() -> None:
    """Each of the steps goes through the text anew, and makes it longer. Once its time is over there is no more."""
    step = {"type": "Replace", "pattern": {"Regex": "(a|b)"}, "content": "ab"}
    data = asking.tokenizer(normalizer={"type": "Sequence", "normalizers": [step] * 16})
    text = _text(data)
    with limits.raised({"template-seconds": 0.3, "template-bytes": 4 << 30}):
        for asked in ("a" * 2000, "a" * 2001):
            with pytest.raises(TokenizerLimitError, match="s of CPU time"):
                text.encode(asked)


def test_all_questions_share_one_limit_of_time() -> None:
    step = {"type": "Replace", "pattern": {"Regex": "(a|b)"}, "content": "ab"}
    tokenizer = sandbox.Tokenizer(asking.tokenizer(normalizer={"type": "Sequence", "normalizers": [step] * 6}))
    tokenizer.encode(["a" * 1000])
    spent = limits.of("template-seconds") - tokenizer._seconds
    tokenizer.encode(["a" * 1000] * 2)
    assert limits.of("template-seconds") - tokenizer._seconds > 2 * spent > 0


@pytest.mark.parametrize("name", HARMLESS)
def test_lengths_that_a_file_states_are_not_its_to_choose(name: str) -> None:
    assert _text(HARMLESS[name]).encode("aab") == [2, 1]


@pytest.mark.parametrize("many", [pytest.param(100_000, marks=pytest.mark.slow), 5_000])
def test_many_steps_and_many_added_tokens_are_taken(many: int) -> None:
    added = [
        {"id": 3 + i, "content": f"<{i}>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for i in range(many)
    ]  # fmt: skip
    steps = {"type": "Sequence", "normalizers": [{"type": "NFC"}] * many}
    assert _text(asking.tokenizer(added_tokens=added, normalizer=steps)).encode("<7>a") == [10, 0]


def test_text_that_is_no_text() -> None:
    with pytest.raises(BrokenTokenizerError):
        _text(asking.tokenizer()).encode("\ud800")


@pytest.mark.parametrize("stated", ['"2"', "[[]]", "{}", "1.0", "true", '["</s>"]', "[1, null]"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_ids_that_end_an_answer_are_numbers(stated: str, name: str) -> None:
    files = {"tokenizer.json": asking.tokenizer(), name: f'{{"eos_token_id": {stated}}}'.encode()}
    with pytest.raises(ParameterError, match=f"eos_token_id of {name} is "):
        _ = Text(files, Path("folder")).stops


@pytest.mark.parametrize("size", ["1e3", "true", "-1", "null", "[]", str(1 << 40)])
def test_a_vocabulary_of_any_size(size: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"")
    (tmp_path / "config.json").write_text(f'{{"vocab_size": {size}}}')
    with pytest.raises((BrokenTokenizerError, limits.LimitExceededError), match="vocab_size of config"):
        text_of_directory(tmp_path)


def _pid() -> int:
    """Of the process that will be asked next."""
    sandbox.Tokenizer(asking.tokenizer()).load()
    return process._pool._idle[-1]._process.pid


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no signals here")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_process_that_something_else_ended_is_started_anew(name: str) -> None:
    pid = _pid()
    os.kill(pid, getattr(signal, name))
    assert _text(asking.tokenizer()).encode("aab") == [2, 1]
    assert _pid() != pid


def test_threads_ask_at_once() -> None:
    found: list[object] = []
    vocabularies = [asking.tokenizer(model={"type": "BPE", "vocab": {"a": i}, "merges": []}) for i in range(4)]

    def ask(i: int) -> None:
        for _ in range(10):
            found.append(_text(vocabularies[i]).encode("a") == [i])  # noqa: PERF401

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [True] * 40


_FORKS = """
    import os, sys
    from rosetta_ref import sandbox
    from tests.support import asking
    ask = lambda: sandbox.Tokenizer(asking.tokenizer()).encode(["aab"])
    assert ask() == [[2, 1]]
    child = os.fork()
    assert ask() == [[2, 1]]
    if child:
        assert os.waitpid(child, 0)[1] == 0
        assert ask() == [[2, 1]]
"""
_DIES = """
    import os, sys, time
    from rosetta_ref import sandbox
    from rosetta_ref.sandbox import process
    from tests.support import asking
    sandbox.Tokenizer(asking.tokenizer()).load()
    print(process._pool._idle[-1]._process.pid, flush=True)
    time.sleep(60)
"""


def _python(program: str) -> list[str]:
    here = f"import sys; sys.path[:] = {[entry for entry in sys.path if entry]!r}\n"
    return [sys.executable, "-I", "-c", here + textwrap.dedent(program)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_asks_a_process_of_its_own() -> None:
    done = subprocess.run(_python(_FORKS), cwd=Path(__file__).parents[2], timeout=60, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_it_ends_with_the_process_that_asked() -> None:
    with subprocess.Popen(_python(_DIES), cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as asker:
        assert asker.stdout is not None
        other = Path("/proc") / asker.stdout.readline().decode().strip()
        assert b"program.py" in (other / "cmdline").read_bytes()
        asker.kill()
    until = time.monotonic() + 10
    while other.exists() and "Z" not in (other / "stat").read_text().rsplit(")", 1)[1] and time.monotonic() < until:
        time.sleep(0.01)
    assert time.monotonic() < until
