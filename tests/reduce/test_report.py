"""report.md as its reader has it: what is wrong, once, in words; nothing of a foreign file breaks out of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import gguf, safetensors
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, TIMEOUT, Entry, Run
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.patterns.blocks import block_bytes
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.folder.prose import block, code, last_words
from rosetta_ref.reduce.run import Asked, run
from rosetta_ref.reduce.search.search import Budget
from rosetta_ref.zoo import MEMBERS, files
from rosetta_ref.zoo.adapter import converter
from tests.support import broken
from tests.support.few import few_members

BUG = "k-scales-bit-stream"
EVIL = "x`\n\n## pwned | <script>\x1b[31m"


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Which of all the members is named is asked by test_diagnosis and test_zoo."""
    with few_members(BUG, "rope-theta-forgotten", "truncation-accepted"):
        yield


class MadeUp:
    """A converter that does what it is told."""

    def __init__(self, act: Callable[[Path, Path], Run]) -> None:
        self.entry = Entry("made `up`", function="none:none", pairs=PAIRS, whole_models=False)
        self._act = act

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Do it."""
        return self._act(src, dst)


def member(name: str) -> Callable[[Path, Path], Run]:
    return converter(MEMBERS[name]).convert


def model(path: Path, kind: str = "Q4_K", name: str = "a.weight", rows: int = 1) -> Path:
    count = rows * 256 // TYPES[kind].elements if TYPES[kind].elements else rows * 256
    one = Tensor.of(name, TYPES[kind], (rows, 256), block_bytes(TYPES[kind], count, "index", 1))
    gguf.write(Archive("gguf", {}, {name: one}), path, lenient=True)
    return path


def reported(act: Callable[[Path, Path], Run], source: Path, *, calls: int = 60) -> str:
    made = run(MadeUp(act), Asked(source, "safetensors", budget=Budget(calls), output=source.parent / "out"))
    return (made.folder / "report.md").read_text()


def outside_code(text: str) -> str:
    """What Markdown would take for more than code."""
    text = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


def test_names_stay_names(tmp_path: Path) -> None:
    text = reported(member(BUG), model(tmp_path / "evil.gguf", name=EVIL), calls=1)
    assert "\x1b" not in text
    assert "pwned" in text
    assert not re.search(r"^#+ *pwned", text, re.MULTILINE)
    for word in ("pwned", "<script>"):
        assert word not in outside_code(text)


def test_nothing_unseen_turns_the_text_around(tmp_path: Path) -> None:
    """Marks of direction and of line ends, which Markdown and terminals obey though they are no control codes."""
    unseen = "\u202e\u2028\u200b\u2066"
    source = model(tmp_path / "m.gguf", name=f"a{unseen}b")
    for act in (member(BUG), lambda src, dst: Run(REFUSED, 1, stderr=f"error: {unseen}", detail="exit code 1")):
        text = reported(act, source, calls=1)
        assert not set(unseen) & set(text)
        assert "\\u202e" in text


def test_what_a_program_says_stays_what_it_says(tmp_path: Path) -> None:
    said = "```\n# pwned\n\x1b[2J" + "\n".join(f"line {number}" for number in range(50)) + "\nerror: no `Q4_K`"
    text = reported(lambda src, dst: Run(REFUSED, 3, stderr=said, detail="exit code 3"), model(tmp_path / "m.gguf"))
    assert "error: no `Q4_K`" in text
    assert "line 49" in text
    assert "line 3\n" not in text
    assert "pwned" not in outside_code(text)
    before, _, _ = text.partition("## How to show it")
    assert before.count("exit code 3") == 1
    assert before.splitlines()[0] == "# GGUF to SafeTensors: a valid file is refused (`` error: no `Q4_K` ``)"
    assert before.count("error: no `Q4_K`") == 2, "in the title, and where it was said"
    assert "\n## What is right\n\nThis input is valid" in text
    assert "refuses it" in text
    assert "No bug that is known" not in text
    assert "carried as they are" not in text


@pytest.mark.parametrize(
    ("outcome", "words"), [(CRASHED, "crashes (`signal 11`)"), (TIMEOUT, "does not end"), (REFUSED, "refuses it")]
)
def test_how_it_ended(outcome: str, words: str, tmp_path: Path) -> None:
    detail = "signal 11" if outcome == CRASHED else ""
    text = reported(lambda src, dst: Run(outcome, None, detail=detail), model(tmp_path / "m.gguf"))
    assert words in text
    assert "and leaves no output.\n" in text
    assert "- `" not in text, "there is nothing more to say"
    assert "says that all is well" not in text


def test_where_a_complaint_stands_before_the_last_words_it_is_said(tmp_path: Path) -> None:
    said = "error: no Q4_K\n" + "\n".join(f"at frame {number}" for number in range(20))
    text = reported(lambda src, dst: Run(REFUSED, 1, stderr=said, detail="exit code 1"), model(tmp_path / "m.gguf"))
    assert "and leaves no output:\n\n- `error: no Q4_K`\n" in text


def test_who_says_that_all_is_well_and_writes_nothing_is_heard_too(tmp_path: Path) -> None:
    text = reported(lambda src, dst: Run(ACCEPTED, 0, stderr="warning: nothing to do"), model(tmp_path / "m.gguf"))
    assert "## What it says\n\n```\nwarning: nothing to do\n```\n" in text


def test_of_a_broken_file_a_crash_is_no_acceptance(tmp_path: Path) -> None:
    source = model(tmp_path / "m.gguf")
    source.write_bytes(source.read_bytes()[:-1])
    text = reported(lambda src, dst: Run(CRASHED, -11, detail="killed by SIGSEGV"), source)
    assert "where it has to refuse a file" in text
    assert "takes a file" not in text
    assert text.startswith("# GGUF to SafeTensors: it crashes on a broken file (`MissingPaddingError`)\n")
    assert text.partition("## How to show it")[0].count("killed by SIGSEGV") == 1


def test_where_it_is(tmp_path: Path) -> None:
    text = reported(member(BUG), model(tmp_path / "m.gguf"))
    first = re.search(
        r"element \[0, (\d+)\] of `a`, at byte (0x[0-9a-f]+) of `(actual[^`]*)`: `(.*?)` \((\S+)\) was expected, "
        r"`(.*?)` \((\S+)\) is there",
        text,
    )
    assert first is not None, text
    (folder,) = (tmp_path / "out").iterdir()
    assert (folder / first[3]).is_file()
    there = (folder / first[3]).read_bytes()[int(first[2], 16) :][:2]  # BF16
    assert first[6] == there.hex(" ")
    for shown, value in ((first[4], first[5]), (first[6], first[7])):
        bits = np.frombuffer(bytes.fromhex(shown), "<u2").astype(np.uint32) << 16
        assert bits.view(np.float32)[0] == float(value)
    assert first[4] != first[6]
    assert re.search(r"^\| \d+ to \d+ \| ", text, re.MULTILINE), "elements that are alike are one row"
    assert "python build.py" in text


def test_a_difference_that_six_digits_do_not_show_is_shown(tmp_path: Path) -> None:
    """One bit of float32; beyond the bytes of the tensor that are kept, by the byte that differs."""
    right = np.linspace(1, 2, 256, dtype=np.float32)
    for place in (100, 200):
        wrong = right.copy()
        wrong[place] = np.nextafter(right[place], np.float32(3))

        def act(src: Path, dst: Path, wrong: np.ndarray = wrong) -> Run:
            dst.mkdir()
            made = {"t": Tensor.of("t", TYPES["F32"], (1, 256), wrong)}
            safetensors.write(Archive("safetensors", {}, made), dst / "model.safetensors")
            return Run(ACCEPTED, 0)

        source = tmp_path / f"{place}.gguf"
        gguf.write(Archive("gguf", {}, {"t": Tensor.of("t", TYPES["F32"], (1, 256), right)}), source, lenient=True)
        text = reported(act, source, calls=1)
        one, other = right[place], wrong[place]
        if place == 100:
            assert (
                f"`{one.tobytes().hex(' ')}` ({one!s}) was expected, `{other.tobytes().hex(' ')}` ({other!s}) is"
                in text
            )
            assert f"| 100 | {one!s} | {other!s} |" in text
        else:
            assert f"{one.tobytes()[0]:#04x} was expected, {other.tobytes()[0]:#04x} is there" in text


def test_what_is_right_is_shown_in_the_type_of_the_output(tmp_path: Path) -> None:
    """The reference keeps Q5_0 as BF16 where that loses nothing; this converter writes F32."""

    def act(src: Path, dst: Path) -> Run:
        broken.wrong_in_two_types(src, dst)
        return Run(ACCEPTED, 0)

    text = reported(act, model(tmp_path / "m.gguf", "Q5_0"))
    assert "`00 00 00 80` (-0.0) was expected, `00 00 80 3f` (1.0) is there" in text
    assert "| 31 | -0.0 | 1.0 |" in text


def test_the_command_is_right_where_shrink_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = model(tmp_path / "m.gguf")
    monkeypatch.chdir(tmp_path)
    inside = reported(member(BUG), source)
    assert re.search(r"^rosetta-ref replay out/F-CONV", inside, re.MULTILINE), "an absolute place is no reason"
    assert "Run it where shrink ran" in inside
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    outside = reported(member(BUG), source)
    assert re.search(r"^rosetta-ref replay F-CONV", outside, re.MULTILINE)
    assert "Run it from the folder that holds this one" in outside


def test_no_path_of_this_machine_stays(tmp_path: Path) -> None:
    def garbage(src: Path, dst: Path) -> Run:
        dst.mkdir()
        (dst / "model.safetensors").write_bytes(b"\xff" * 64)
        return Run(ACCEPTED, 0)

    text = reported(garbage, model(tmp_path / "m.gguf"))
    assert "/tmp" not in text
    assert str(tmp_path) not in text
    assert text.count("HeaderTooLargeError") <= 4
    assert "UnreadableError" not in text
    text = reported(lambda src, dst: Run(CRASHED, 1, stderr=f"error: cannot read {src}"), model(tmp_path / "n.gguf"))
    assert "rosetta-gate-" not in text


def test_the_copy_that_a_converter_is_given_has_the_name_in_the_folder(tmp_path: Path) -> None:
    def refuse(src: Path, dst: Path) -> Run:
        return Run(
            REFUSED, 1, stderr=f"error: no {src} to {dst}, in {src.parent} of {dst.parent.parent}", detail="exit code 1"
        )

    text = reported(refuse, model(tmp_path / "mine.gguf"), calls=1)
    assert "error: no input.gguf to model, in . of ." in text
    assert "rosetta-gate-" not in text
    assert "given-0" not in text


def test_why_a_broken_file_is_broken_is_said_without_our_wrapping(tmp_path: Path) -> None:
    source = model(tmp_path / "m.gguf")
    source.write_bytes(source.read_bytes()[:-1])
    text = reported(member("truncation-accepted"), source)
    assert re.search(r"a file that no reader should take \(`input.gguf, byte 0x[0-9a-f]+: ", text)
    assert "cannot be read" not in text


def test_a_large_input_has_no_script(tmp_path: Path) -> None:
    source = model(tmp_path / "m.gguf", rows=600)
    text = reported(member(BUG), source, calls=1)
    assert source.stat().st_size > 1 << 16
    assert "build.py" not in text
    assert "annotated.txt" not in text


def test_a_wrong_number_is_named(tmp_path: Path) -> None:
    source = files.model_in("gguf", numbers={"rope.freq_base": 500000.0})(tmp_path)
    text = reported(member("rope-theta-forgotten"), source)
    assert "rope_theta is 10000.0, and was 500000.0" in text
    assert "**rope-theta-forgotten**" in text


@pytest.mark.parametrize("text", ["a", "`", "``a`", "a\nb", "", " ", "\x1b[0m", "\ud800\u2028"])
def test_a_span_of_code_is_one_line_in_a_fence_that_it_does_not_hold(text: str) -> None:
    made = code(text)
    assert "\n" not in made
    assert "\x1b" not in made
    fence = re.match("`+", made)
    assert fence is not None
    assert made.endswith(fence[0])
    assert not re.search(f"(?<!`){fence[0]}(?!`)", made[len(fence[0]) : -len(fence[0])])


def test_a_block_of_code_has_a_longer_fence() -> None:
    assert block("a\n```\nb", "sh") == ["````sh", "a", "```", "b", "````"]
    assert block("a\tb\rc\x1b") == ["```", "a   b", "c\\x1b", "```"]


def test_the_last_words_are_the_last() -> None:
    assert last_words("\n".join(map(str, range(20))), lines=3) == "17\n18\n19"
    assert last_words("x" * 5000, most=100) == "..." + "x" * 97
