"""annotated.txt: the bytes that differ are marked and no others, values stand beside each other, nothing long gets in the way."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import apr, gguf
from rosetta_ref.quant import TYPES
from rosetta_ref.reduce.folder.annotate import coloured, of_folder, plain, rendered, spans, text
from rosetta_ref.reduce.folder.annotation import MOST_ROWS, Annotation, Right, annotate
from rosetta_ref.reduce.folder.dump import Left, Line

Q8 = TYPES["Q8_0"]


def blocks(*scales: float) -> bytes:
    return b"".join(struct.pack("<e32b", scale, *range(32)) for scale in scales)


def written(folder: Path, name: str, *tensors: Tensor) -> bytes:
    """A GGUF file of those tensors."""
    path = folder / name
    (apr if path.suffix == ".apr" else gguf).write(
        Archive(path.suffix[1:], {}, {one.name: one for one in tensors}), path
    )
    return path.read_bytes()


def q8(name: str, data: bytes, rows: int = 1) -> Tensor:
    return Tensor.of(name, Q8, (rows, len(data) // 34 * 32 // rows), data)


def marked(annotation: Annotation) -> dict[int, tuple[int, int]]:
    """Offset of each marked byte: what is there, and what is right."""
    return {
        line.offset + at: (byte, right)
        for section in annotation.sections
        for line in section.lines
        if isinstance(line, Line)
        for at, (byte, right) in enumerate(zip(line.data, line.wanted, strict=True))
        if byte != right
    }


def test_marks_the_bytes_that_differ_and_no_others(tmp_path: Path) -> None:
    right = blocks(0.5, 2)
    wrong = bytearray(right)
    wrong[1], wrong[34 + 20] = 0x11, 0x77
    data = written(tmp_path, "actual.gguf", q8("a", right), q8("t", bytes(wrong)))
    annotation = annotate({}, {"actual.gguf": data}, [Right("a", Q8, (1, 64), right), Right("t", Q8, (1, 64), right)])
    start = data.index(bytes(wrong))
    assert marked(annotation) == {start + 1: (0x11, 0x38), start + 54: (0x77, 18)}
    lines = plain(annotation).splitlines()
    place = next(number for number, line in enumerate(lines) if "data t / block 0 / d" in line)
    assert (
        lines[place]
        == f"{start:06x}  00 11                                            data t / block 0 / d = 0.0006104"
    )
    assert lines[place + 1].split() == ["right:", "38", "^", "a", "right", "output"]
    assert lines[place + 1].index("38") == lines[place].index("11")
    assert plain(annotation).count("a right output") == 2


def test_values_stand_beside_each_other(tmp_path: Path) -> None:
    right = blocks(0.5)
    wrong = blocks(0.5)[:-1] + b"\x7f"
    given, data = written(tmp_path, "in.gguf", q8("t", right)), written(tmp_path, "out.gguf", q8("t", wrong))
    annotation = annotate({"in.gguf": given}, {"out.gguf": data}, [Right("t", Q8, (1, 32), right)])
    (table,) = annotation.tables
    assert len(table.rows) == 32
    assert [(row.element, row.input, row.expected, row.actual) for row in table.rows[-2:]] == [
        ("0, 30", "15.0", "15.0", "15.0"), ("0, 31", "15.5", "15.5", "63.5"),
    ]  # fmt: skip
    assert [row.differs for row in table.rows] == [False] * 31 + [True]
    assert table.said == "1 of 32 elements differ"
    assert table.title == "t: input Q8_0 [1, 32], expected Q8_0 [1, 32], output Q8_0 [1, 32]"
    (line,) = [line for line in plain(annotation).splitlines() if line.startswith("  *")]
    assert line.split() == ["*", "0,", "31", "15.5", "15.5", "63.5"]


def test_each_file_is_compared_with_its_own_tensors(tmp_path: Path) -> None:
    one, two = written(tmp_path, "1.gguf", q8("a", blocks(1))), written(tmp_path, "2.gguf", q8("b", blocks(2)))
    rights = [Right("b", Q8, (1, 32), blocks(2)), Right("a", Q8, (1, 32), blocks(4))]
    annotation = annotate({}, {"actual/1.gguf": one, "actual/2.gguf": two}, rights)
    assert [
        sum(line.differs for line in section.lines if isinstance(line, Line)) for section in annotation.sections
    ] == [1, 0]
    assert [table.title[0] for table in annotation.tables] == ["a"]


def test_what_is_right_has_no_table(tmp_path: Path) -> None:
    data = written(tmp_path, "out.gguf", q8("t", blocks(1)))
    annotation = annotate({}, {"out.gguf": data}, [Right("t", Q8, (1, 32), blocks(1))])
    assert not annotation.tables
    assert not marked(annotation)


def test_the_first_bytes_of_a_right_output_do(tmp_path: Path) -> None:
    """What a record keeps of a long tensor: the rest is not called wrong."""
    data = written(tmp_path, "out.gguf", q8("t", blocks(1, 2, 3)))
    annotation = annotate({}, {"out.gguf": data}, [Right("t", Q8, (1, 96), blocks(1, 1))])
    assert set(marked(annotation).values()) == {(0x40, 0x3C)}
    assert annotation.tables[0].said == "31 of 64 elements differ"  # 32, but for a zero


def test_many_differences_are_counted(tmp_path: Path) -> None:
    data = written(tmp_path, "out.gguf", q8("t", blocks(*[2] * 8)))
    (table,) = annotate({}, {"out.gguf": data}, [Right("t", Q8, (1, 256), blocks(*[1] * 8))]).tables
    assert len(table.rows) == MOST_ROWS
    assert all(row.differs for row in table.rows)
    assert table.said == "248 of 256 elements differ, 184 more than are shown"


def test_elements_that_are_alike_are_one_row_from_three_on(tmp_path: Path) -> None:
    kind = TYPES["F32"]
    right = np.zeros(10, np.float32)
    wrong = np.array([0, 0, 0, 5, 5, 5, 5, 7, 7, 0], np.float32)
    data = written(tmp_path, "out.gguf", Tensor.of("t", kind, (10,), wrong))
    (table,) = annotate({}, {"out.gguf": data}, [Right("t", kind, (10,), right.tobytes())]).tables
    assert [(row.element, row.actual, row.differs) for row in table.rows] == [
        ("0 to 2", "0.0", False), ("3 to 6", "5.0", True), ("7", "7.0", True), ("8", "7.0", True), ("9", "0.0", False),
    ]  # fmt: skip
    assert table.said == "6 of 10 elements differ"


def test_a_nan_is_a_nan_and_a_zero_has_a_sign(tmp_path: Path) -> None:
    kind = TYPES["F32"]
    values = np.array([np.nan, 0.0, 1.0], np.float32)
    other = np.array([-np.nan, -0.0, 1.0], np.float32)
    data = written(tmp_path, "out.gguf", Tensor.of("t", kind, (3,), other))
    (table,) = annotate({}, {"out.gguf": data}, [Right("t", kind, (3,), values.tobytes())]).tables
    assert [row.differs for row in table.rows] == [False, True, False]


def test_another_type_is_said_and_its_bytes_are_left_alone(tmp_path: Path) -> None:
    kind = TYPES["F32"]
    data = written(tmp_path, "out.gguf", Tensor.of("t", kind, (1, 32), np.arange(32, dtype=np.float32)))
    annotation = annotate({}, {"out.gguf": data}, [Right("t", Q8, (1, 32), blocks(2))])
    assert annotation.sections[0].notes == ("bytes not compared: t is F32 [1, 32], Q8_0 [1, 32] is right",)
    assert not marked(annotation)
    assert annotation.tables[0].said == "31 of 32 elements differ"


def test_a_lost_tensor_is_shown_as_lost(tmp_path: Path) -> None:
    data = written(tmp_path, "out.gguf", q8("other", blocks(1)))
    (table,) = annotate({}, {"out.gguf": data}, [Right("t", Q8, (1, 32), blocks(1))]).tables
    assert "not in the output" in table.title
    assert {row.actual for row in table.rows} == {"-"}
    assert table.said == "0 of 0 elements differ"


def test_a_big_endian_output_is_judged_by_its_values() -> None:
    head = b"GGUF" + struct.pack(">IQQ", 3, 1, 0) + struct.pack(">Q1sIQIQ", 1, b"t", 1, 32, 8, 0)
    body = struct.pack(">e32b", 1, *range(32))
    data = head + bytes(-len(head) % 32) + body
    assert not annotate({}, {"x.gguf": data}, [Right("t", Q8, (32,), blocks(1))]).tables
    annotation = annotate({}, {"x.gguf": data}, [Right("t", Q8, (32,), blocks(2))])
    assert not marked(annotation)
    assert annotation.sections[0].notes == ("bytes not compared: t is big-endian",)
    (table,) = annotation.tables
    assert table.said == "31 of 32 elements differ"


def test_zeros_and_long_data_are_left_out_but_not_what_is_wrong(tmp_path: Path) -> None:
    right = bytes(2000) + bytes(range(1, 49)) * 50
    wrong = bytearray(right)
    wrong[-1] ^= 0xFF
    kind = TYPES["I8"]
    data = written(tmp_path, "out.gguf", Tensor.of("t", kind, (1, len(right)), bytes(wrong)))
    annotation = annotate({}, {"out.gguf": data}, [Right("t", kind, (1, len(right)), right)])
    (section,) = annotation.sections
    shown = sum(len(line.data) for line in section.lines if isinstance(line, Line))
    left = [line for line in section.lines if isinstance(line, Left)]
    assert shown + sum(one.count for one in left) == len(data)
    assert shown < 1000
    assert [one.zeros for one in left if one.group == "data t"] == [True, False]
    assert len(marked(annotation)) == 1
    assert "more bytes of data t, zeros" in plain(annotation)


def test_each_field_has_its_name_though_it_is_zero(tmp_path: Path) -> None:
    shown = plain(annotate({"x.gguf": written(tmp_path, "x.gguf", q8("t", bytes(68)))}, {}))
    assert all(f"data t / block {block} / {part}" in shown for block in (0, 1) for part in ("d = 0.0", "qs[0:16]"))


def test_both_renderings_say_the_same(tmp_path: Path) -> None:
    data = written(tmp_path, "out.gguf", q8("[bold]t\x1b[2J", blocks(1)))
    annotation = annotate({"out.gguf": data}, {"out.gguf": data}, [Right("[bold]t\x1b[2J", Q8, (1, 32), blocks(2))])
    out = io.StringIO()
    Console(file=out, width=300).print(coloured(annotation), soft_wrap=True)
    shown = [line.rstrip() for line in out.getvalue().rstrip().splitlines()]
    assert shown == [line.rstrip() for line in plain(annotation).rstrip().splitlines()]
    assert "\x1b" not in plain(annotation)
    assert "[bold]t" in plain(annotation)
    assert ("3c ", "bold red") in [span for line in spans(annotation) for span in line]


@dataclass(frozen=True)
class Record:
    input: str
    files: dict[str, str]
    expected: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize("output", ["actual.apr", "actual/x.apr"])
def test_a_folder_is_annotated(tmp_path: Path, output: str) -> None:
    """Names of the input are found by canonical name; values with a decimal are those of the blocks."""
    kind = TYPES["F16"]
    (tmp_path / output).parent.mkdir(exist_ok=True)
    written(tmp_path, "input.gguf", Tensor.of("t", kind, (2,), np.array([1, 2], "<f2")))
    written(tmp_path, output, Tensor.of("t", kind, (2,), np.array([1, 3], "<f2")))
    told = {"t": {"name": "t", "type": "F16", "shape": [2], "bytes": "003c0040", "values": ["1", "2"]}}
    record = Record("input.gguf", {"input.gguf": ""}, told)
    shown = text(tmp_path, record)
    assert shown == text(tmp_path, record, output.partition("/")[0])
    assert f"output {output}" in shown
    assert "  *       1    2.0       2.0     3.0" in shown
    assert rendered(tmp_path, record).plain.split() == shown.split()


def test_an_input_tensor_is_found_by_what_it_is(tmp_path: Path) -> None:
    """The output calls it blk.0.attn_norm.weight, the Hugging Face directory otherwise."""
    folder = Path("fixtures/golden/convert-hf/llama-smollm-tied")
    told = {"name": "blk.0.attn_norm.weight", "type": "F32", "shape": [1], "bytes": "0000803f"}
    record = Record("hf", {"hf/model.safetensors": ""}, {"blk.0.attn_norm.weight": told})
    (table,) = of_folder(folder, record, "auto.gguf").tables
    assert table.title.startswith("blk.0.attn_norm.weight: input ")
    assert "not in" not in table.title
    assert table.rows[0].input == table.rows[0].actual != "-"


def test_a_folder_whose_input_nobody_can_read(tmp_path: Path) -> None:
    (tmp_path / "input.gguf").write_bytes(b"GGUF\3\0")
    shown = text(tmp_path, Record("input.gguf", {"input.gguf": ""}))
    assert "header.version of 4 bytes, 2 are left" in shown
