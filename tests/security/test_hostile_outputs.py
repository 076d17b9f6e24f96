"""What a converter writes may be anything: each odd output is a finding about that output, and the run goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rosetta_ref import limits
from rosetta_ref.archive import Kind, Value
from rosetta_ref.convert import convert as reference
from rosetta_ref.formats import gguf
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.converter.walk import remove
from rosetta_ref.gate.findings import CORROBORATED, FALSIFIED, Result
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.inputs.sample import Sample
from rosetta_ref.gate.judge import cache
from rosetta_ref.gate.run.checks.metadata import Metadata
from rosetta_ref.gate.run.engine import HarnessError, run
from rosetta_ref.gate.run.judging import processes, questions
from rosetta_ref.gate.run.workspace import Workspace
from tests.support.nightly import part

ROOT = Path(__file__).parents[2]
Mutation = Callable[[Path], None]


class Odd:
    """The reference, whose output is then spoiled; the first call is that of the case with the spoiled output."""

    def __init__(self, spoil: Mutation, pairs: tuple[str, ...] = ("G-S",)) -> None:
        self.entry = Entry("odd", function="none:none", pairs=pairs, architectures=("llama",), whole_models=True)
        self._spoil = spoil

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, and spoil."""
        reference(src, dst)
        if "spoiled" in str(src):
            self._spoil(dst)
        return Run(ACCEPTED, 0)


def model(name: str) -> Sample:
    return build(
        name, Spec("llama", 4, 1, 16, 96, layers=1, tied=True, tokenizer="smollm"), [("F32", "index-coded")], 0
    )


def results(spoil: Mutation, pair: str = "G-S", gate: str = "*") -> dict[str, list[Result]]:
    """What comes of a spoiled output, and of the one after it, which is right."""
    found = run(
        Odd(spoil, (pair,)), samples=[model("spoiled"), model("right")], only=[f"{gate}/*spoiled*", f"{gate}/*right*"]
    )
    return {name: [one for one in found if one.sample == name] for name in ("spoiled", "right")}


def kinds(found: list[Result]) -> set[str]:
    return {finding.kind for one in found for finding in one.findings}


def config(key: str, value: Any) -> Mutation:
    def spoil(dst: Path) -> None:
        file = dst / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))

    return spoil


def raw(name: str, data: bytes) -> Mutation:
    return lambda dst: (dst / name).write_bytes(data) and None


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Mutation:
    def spoil(dst: Path) -> None:
        file = dst / "tokenizer.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return spoil


def one_file(change: Mutation) -> Mutation:
    """Of a directory the file of the weights."""

    def spoil(dst: Path) -> None:
        change(dst / "model.safetensors")

    return spoil


def linked(to: str) -> Mutation:
    def spoil(path: Path) -> None:
        path.unlink()
        path.symlink_to(to)

    return spoil


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def plug(path: Path) -> None:
    path.unlink()
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def sparse(path: Path) -> None:
    os.truncate(path, 1 << 40)


def many_keys(dst: Path) -> None:
    (dst / "config.json").write_text(json.dumps({f"key{i}": i for i in range(300_000)}))


def swallow(dst: Path) -> None:
    shutil.rmtree(dst)
    dst.write_bytes(b"\0" * 100)


ODD: dict[str, tuple[Mutation, str | None]] = {
    "architectures is a number": (config("architectures", 5), "unreadable"),
    "rope_parameters is a list": (config("rope_parameters", [1]), "unreadable"),
    "heads is an object": (config("num_attention_heads", {"a": 1}), "number-wrong"),
    "width is beyond floats": (config("hidden_size", 10**400), "number-wrong"),
    "llama3 by zero": (config("rope_scaling", {"rope_type": "llama3", "factor": 0}), "unreadable"),
    "llama3 without an end": (config("rope_scaling", {"rope_type": "llama3", "factor": [1e9]}), "unreadable"),
    "config nested": (raw("config.json", b'{"a":' * 100_000), "unreadable"),
    "config nested, and closed": (raw("config.json", b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"), "unreadable"),
    "config of half a surrogate": (raw("config.json", b'{"model_type": "\\ud800"}'), "unreadable"),
    "config not UTF-8": (raw("config.json", b"\xff\xfe"), "unreadable"),
    "config of a key twice": (raw("config.json", b'{"a":1,"a":2}'), "unreadable"),
    "config a list": (raw("config.json", b"[]"), "unreadable"),
    "config of many keys": (many_keys, "unreadable"),
    "token id 2^40": (tokenizer(lambda t: t["added_tokens"].append({"id": 1 << 40, "content": "x"})), "tokenizer-broken"),
    "token id in the vocabulary": (tokenizer(lambda t: t["model"]["vocab"].update(x=1 << 40)), "tokenizer-broken"),
    "token id of a fraction": (tokenizer(lambda t: t["model"]["vocab"].update(x=1.5)), "tokenizer-broken"),
    "added tokens a number": (tokenizer(lambda t: t.update(added_tokens=7)), "tokenizer-broken"),
    "no model of a tokenizer": (tokenizer(lambda t: t.update(model=[])), "tokenizer-broken"),
    "merges a text": (tokenizer(lambda t: t["model"].update(merges="a b")), "tokenizer-broken"),
    "template not UTF-8": (raw("chat_template.jinja", b"\xff"), "tokenizer-broken"),
    "weights a pipe": (one_file(pipe), "irregular"),
    "weights a socket": (one_file(plug), "irregular"),
    "weights a device": (one_file(linked("/dev/zero")), "linked"),
    "weights a link to themselves": (one_file(linked("model.safetensors")), "irregular"),
    "weights a link outside": (one_file(linked("/etc/passwd")), "linked"),
    "config a link outside": (lambda dst: linked("/etc/passwd")(dst / "config.json"), "linked"),
    "a folder a link": (lambda dst: (dst / "more").symlink_to("/", target_is_directory=True), "linked"),
    "a pipe beside the weights": (lambda dst: os.mkfifo(dst / "notes.txt"), "irregular"),
    "sparse of 1 TiB": (one_file(sparse), "too-large"),
    "a file instead": (swallow, "empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", part(ODD))
def test_an_odd_output_is_that_outputs_fault(name: str) -> None:
    spoil, kind = ODD[name]
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    found = results(spoil, gate="F-CONV-META-001/G-S")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert [one.outcome for one in found["right"]] == [CORROBORATED]
    assert [one.outcome for one in found["spoiled"]] == [FALSIFIED]
    assert kind is None or kind in kinds(found["spoiled"]), found["spoiled"][0].findings
    assert "judge failed" not in found["spoiled"][0].reason
    assert time.process_time() - began + after.ru_utime - before.ru_utime < 10


#: Values that nobody would expect there: of another kind, an array, a number that is none.
VALUES = (
    Value.array(Kind.U32, [1, 2]), Value.array(Kind.STRING, []),
    Value.scalar(Kind.STRING, "x"), Value.scalar(Kind.U64, 1 << 63), Value.scalar(Kind.I32, -1), Value.scalar(Kind.BOOL, 1),
    Value.scalar(Kind.F32, float("nan")), Value.scalar(Kind.U32, 0), Value.scalar(Kind.F64, 1e300),
)  # fmt: skip
KEYS = (
    "llama.attention.head_count", "llama.attention.head_count_kv", "llama.embedding_length", "llama.rope.freq_base",
    "general.architecture", "general.file_type", "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.token_type", "tokenizer.chat_template", "llama.rope.scaling.type", "llama.vocab_size",
)  # fmt: skip


@pytest.mark.parametrize("key", part(KEYS, 4))
def test_a_key_of_another_kind_is_that_outputs_fault(key: str) -> None:
    """What is judged by the file's own numbers, rows of heads and factors of rope, is judged all the same, or said to be wrong."""
    values = iter(VALUES)

    def spoil(dst: Path) -> None:
        with gguf.read(dst) as archive:
            made = replace(archive, metadata={**archive.metadata, key: next(values)})
            gguf.write(made, dst.with_name("other"))
        dst.with_name("other").replace(dst)

    samples = [replace(model("spoiled"), name=f"spoiled-{number}") for number in range(len(VALUES))]
    chosen = ["F-CONV-META-001/S-G/*", "F-CONV-004/*/*-attn_*", "F-CONV-ABA-001/*"]
    found = run(Odd(spoil, ("S-G", "G-S")), samples=samples, only=chosen)
    assert len(found) >= 2 * len(VALUES)
    assert not [one.reason for one in found if "judge failed" in one.reason]


def test_more_files_than_an_output_has_are_not_walked_through() -> None:
    with limits.raised({"output-files": 100}):
        found = results(lambda dst: [(dst / f"{i}").touch() for i in range(200)] and None, gate="F-CONV-META-001/G-S")
    assert kinds(found["spoiled"]) == {"unreadable"}
    assert [one.outcome for one in found["right"]] == [CORROBORATED]


# The judge itself


def test_a_judge_that_falls_says_so_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of the judge that an output brings to light is a finding with its class and line, and hides nothing else."""

    def falls(*_: Any) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(Metadata, "judge", falls)
    monkeypatch.setattr(questions, "_fails_on", lambda ours: False)
    monkeypatch.setattr(cache, "are_replaced", lambda: True)
    found = results(lambda dst: None)
    (words,) = [one for one in found["spoiled"] if one.gate == "F-CONV-META-001"]
    assert words.findings[0].kind == "unreadable"
    assert "the judge failed on it: ZeroDivisionError: no such luck (test_hostile_outputs.py, line" in words.reason
    assert CORROBORATED in {one.outcome for one in found["spoiled"]}


def test_a_judge_that_falls_over_our_own_files_accuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "are_replaced", lambda: True)
    monkeypatch.setattr("rosetta_ref.gate.judge.cache.judge_metadata", lambda *_: [][1])
    with pytest.raises(HarnessError, match="has no answer: IndexError"):
        results(lambda dst: None)


@pytest.mark.parametrize("how", ["hang", "memory", "fall"])
def test_a_process_that_judges_has_limits(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is ended, that case is falsified, and the next one gets a new process."""
    body = {"hang": "while True: pass", "memory": "x = bytearray(1 << 33)", "fall": "os.kill(os.getpid(), 11)"}[how]
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'rosetta_ref.gate.run.judging.process' in sys.orig_argv:\n"
        "    from rosetta_ref.gate.run.checks.metadata import Metadata\n"
        "    plain = Metadata.judge\n"
        "    def judge(self, result, question, judgements):\n"
        "        if result.sample == 'spoiled':\n"
        f"            {body}\n"
        "        plain(self, result, question, judgements)\n"
        "    Metadata.judge = judge\n"
    )
    monkeypatch.setattr(processes, "POOL", processes._Pool())
    monkeypatch.syspath_prepend(tmp_path)
    began = time.monotonic()
    with limits.raised({"judge-seconds": 1, "judge-bytes": 512 << 20}):
        found = results(lambda dst: None, gate="F-CONV-META-001/G-S")
    processes.POOL.close()
    assert kinds(found["spoiled"]) == {"unreadable"}
    assert "judging it takes more" in found["spoiled"][0].reason
    assert [one.outcome for one in found["right"]] == [CORROBORATED]
    assert time.monotonic() - began < 30


def test_a_request_to_end_is_heard_while_the_judge_hangs(tmp_path: Path) -> None:
    """Neither the process that judges nor anything temporary stays."""
    for name in ("temporary", "site"):
        (tmp_path / name).mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'rosetta_ref.gate.run.judging.process' in sys.orig_argv:\n"
        f"    open({str(tmp_path / 'judging')!r}, 'w').write(str(os.getpid()))\n"
        "    from rosetta_ref.gate.run.checks.metadata import Metadata\n"
        "    Metadata.judge = lambda *_: time.sleep(60)\n"
    )
    words = [
        "-m",
        "rosetta_ref.cli",
        "gate",
        "--converter=reference",
        "--no-reproductions",
        "--case=F-CONV-META-001/G-A/*",
    ]
    child = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"},
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not ((tmp_path / "judging").exists() and (tmp_path / "judging").read_text()) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.5)
        child.terminate()
        assert child.wait(20) == 143
    finally:
        child.kill()
    assert list((tmp_path / "temporary").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "judging").read_text()), 0)


def test_nobody_else_looks_at_what_the_judge_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diagnosis and reduction read outputs in the gate's own process."""
    handed: list[object] = []
    monkeypatch.setattr(questions, "_fails_on", lambda ours: False)
    monkeypatch.setattr(cache, "are_replaced", lambda: True)
    monkeypatch.setattr(Metadata, "judge", lambda *_: {}["no such"])
    found = run(
        Odd(lambda dst: None), samples=[model("spoiled")], only=["F-CONV-META-001/G-S/*"], on_failure=handed.extend
    )
    assert [one.outcome for one in found] == [FALSIFIED]
    assert handed == []


# What is temporary


def deep(folder: Path, levels: int) -> None:
    before = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=before)
        after = os.open("d", os.O_RDONLY, dir_fd=before)
        os.close(before)
        before = after
    os.close(before)


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: removing thousands of folders takes seconds on some disks."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    remove(folder)


def test_nothing_temporary_stays(quick: Path) -> None:
    tmp_path = quick
    with Workspace(tmp_path) as work:
        folder = work.place("gguf").folder
        (folder / "locked" / "inner").mkdir(parents=True)
        (folder / "locked" / "inner" / "file").touch(0o000)
        (folder / "locked").chmod(0o000)
        os.mkfifo(folder / "pipe")
        (folder / "link").symlink_to(tmp_path)
        (folder / "loop").symlink_to("loop")
        os.mkdir(os.fsencode(folder) + b"/\xff\xfe")
        deep(folder, 10_000)
        (tmp_path / "ours").mkdir()
        (folder / "away").symlink_to(tmp_path / "ours", target_is_directory=True)
        (tmp_path / "ours" / "kept").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]
    assert (tmp_path / "ours" / "kept").exists()


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "link").symlink_to("kept", target_is_directory=True)
    remove(tmp_path / "link")
    assert (tmp_path / "kept" / "file").exists()
