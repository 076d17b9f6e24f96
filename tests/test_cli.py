"""The command line as a program: what it prints, and above all its exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.cli import main
from rosetta_ref.cli.convert import byte_size
from rosetta_ref.formats import safetensors
from rosetta_ref.quant import TYPES


def run_program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a program of its own."""
    command = [sys.executable, "-m", "rosetta_ref.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command within this process: starting a program for every test would take longer than all of them."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


def save(path: Path, metadata: dict[str, str] | None = None, **tensors: list[float]) -> Path:
    made = {name: Tensor.of(name, TYPES["F32"], (len(v),), np.array(v, "<f4")) for name, v in tensors.items()}
    safetensors.write(Archive("safetensors", dict(metadata or {}), made), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "m.safetensors", {"format": "pt"}, a=[1, 2], b=[3])


def test_inspect_prints_and_gives_json(model: Path) -> None:
    shown = run_program("inspect", model)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "2 tensors (2 F32), 3 parameters, 12 bytes" in shown.stdout
    assert "\x1b" not in shown.stdout
    about = json.loads(run("inspect", model, "--json").stdout)
    assert about["metadata"] == {"format": "pt"}
    assert [tensor["name"] for tensor in about["tensors"]] == ["a", "b"]


def test_inspect_shows_a_block(model: Path) -> None:
    shown = run("inspect", model, "--tensor", "a", "--block", 1)
    assert shown.returncode == 0
    assert "00 00 00 40" in shown.stdout
    block = json.loads(run("inspect", model, "--tensor", "a", "--block", 1, "--json").stdout)
    assert (block["decoded"], block["of"], block["fields"][0]["hex"]) == ([2.0], 2, "00000040")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--tensor", "zzz"), 1, "NoSuchTensorError"),
        (("--tensor", "a", "--block", "2"), 1, "NoSuchBlockError"),
        (("--block", "0"), 2, "--block needs --tensor"),
    ],
)
def test_inspect_says_what_is_not_there(model: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run("inspect", model, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_validate_is_quiet_about_good_files_and_exits_1_for_bad_ones(model: Path, tmp_path: Path) -> None:
    bad = save(tmp_path / "bad.safetensors", w=[1, float("nan"), float("inf")])
    assert run("validate", model).returncode == 0
    done = run_program("validate", bad, model, tmp_path / "none.safetensors")
    assert done.returncode == 1
    assert "tensor 'w': NaN: 1 of 3 elements, first at (1,), byte 0x" in done.stderr
    assert "Inf: 1 of 3" in done.stderr
    assert "none.safetensors" in done.stderr
    assert f"{model}: ok: 2 tensors, 3 elements judged, 0 not judged" in done.stdout
    results = json.loads(run("validate", bad, model, "--json").stdout)
    assert [result["ok"] for result in results] == [False, True]
    assert [finding["problem"] for finding in results[0]["findings"]] == ["NaN", "Inf"]


def test_validate_names_the_rule_of_a_broken_file(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-1])
    done = run("validate", model)
    assert done.returncode == 1
    assert "CoverageError: The tensors end where the file ends." in done.stderr


def test_validate_refuses_a_file_without_numbers(tmp_path: Path) -> None:
    done = run("validate", save(tmp_path / "empty.safetensors"))
    assert done.returncode == 1
    assert "NothingJudgedError" in done.stderr


def test_diff_says_where(model: Path, tmp_path: Path) -> None:
    same = run_program("diff", model, shutil.copy(model, tmp_path / "copy.safetensors"))
    assert (same.returncode, same.stderr) == (0, "")
    assert "same: 2 of 2 tensors equal" in same.stdout
    other = save(tmp_path / "other.safetensors", {"format": "np"}, a=[1, 2.5], c=[3])
    done = run("diff", model, other)
    assert done.returncode == 1
    assert (
        "tensor 'a': values differ: 1 of 2 elements (F32, F32); first at (1,): 0x40000000 (2) at byte 0x" in done.stdout
    )
    assert "largest error 0.5" in done.stdout
    assert "tensor 'b': only in A" in done.stdout
    assert "tensor 'c': only in B" in done.stdout
    found = json.loads(run("diff", model, other, "--json").stdout)
    assert (found["same"], found["metadata_differ"]) == (False, {"format": ["pt", "np"]})


def test_diff_of_metadata_alone(model: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other.safetensors", {"format": "np"}, a=[1, 2], b=[3])
    assert run("diff", model, other).returncode == 1
    assert run("diff", model, other, "--no-metadata").returncode == 0


def test_diff_of_files_with_nothing_in_common_is_an_error(model: Path, tmp_path: Path) -> None:
    done = run("diff", model, save(tmp_path / "other.safetensors", z=[1]), "--as-stored")
    assert done.returncode == 1
    assert "NothingComparedError" in done.stderr


APRENDER = Path(__file__).parents[1] / "fixtures/golden/apr-rosetta"


def test_validate_says_which_types_would_fit_a_tensor_that_does_not() -> None:
    done = run("validate", APRENDER / "aprender-0.25.0/llama-mix.apr")
    assert done.returncode == 1
    assert "tensor 'blk.0.ffn_down.weight'" in done.stderr
    assert "Q5_0, Q5_K" in done.stderr


def test_diff_with_the_source_finds_what_the_converter_did() -> None:
    files = APRENDER / "aprender-0.25.0/llama-mix.apr", APRENDER / "source/llama-mix.gguf"
    done = run("diff", *files, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["compared"] == 12
    wrong = {difference["tensor"]: difference for difference in found["differences"]}
    assert wrong.keys() == {"blk.0.attn_v.weight", "blk.0.ffn_down.weight"}
    lanes = wrong["blk.0.attn_v.weight"]
    # The lanes of Q5_0 are interleaved: element 0 is right, element 1 is element 16.
    assert (lanes["what"], lanes["index"]) == ("values", [0, 1])
    assert lanes["first"][0]["file"] == str(files[0])


@pytest.mark.parametrize(
    ("model", "tensors"), [("llama-f32", 12), ("llama-q4km", 11), ("qwen2-f32", 15), ("qwen2-q4km", 14)]
)
def test_diff_across_formats_finds_no_tensor_changed_and_the_tokenizer_cut(model: str, tensors: int) -> None:
    files = APRENDER / f"aprender-0.25.0/{model}.apr", APRENDER / f"source/{model}.gguf"
    found = json.loads(run("diff", *files, "--json").stdout)
    assert (found["compared"], found["equal"], found["differences"]) == (tensors, tensors, [])
    assert "tokenizer.ggml.token_type" in found["metadata_only_b"]
    assert not found["same"]
    assert main(["diff", *map(str, files), "--no-metadata", "--quiet"]) == 0


HUGGING_FACE = Path(__file__).parents[1] / "fixtures/golden/convert-hf"


@pytest.mark.parametrize("model", ["llama-spm", "llama3-rope-bias", "qwen2-tied-sharded"])
def test_diff_pairs_hugging_face_names_with_those_of_gguf(model: str) -> None:
    files = HUGGING_FACE / model / "hf", HUGGING_FACE / model / "auto.gguf"
    assert main(["diff", *map(str, files), "--quiet"]) == 0


def test_diff_sees_heads_in_the_wrong_order(tmp_path: Path) -> None:
    """The rows of q as Hugging Face orders them, where GGUF's order belongs."""
    folder = shutil.copytree(HUGGING_FACE / "llama-yarn/hf", tmp_path / "hf")
    name = "model.layers.0.self_attn.q_proj.weight"
    with safetensors.read(folder) as archive:
        tensors = {n: Tensor.of(n, t.type, t.shape, t.data.copy()) for n, t in archive.tensors.items()}
        rows = tensors[name].data.reshape(tensors[name].shape[0], -1)
        heads = json.loads((folder / "config.json").read_bytes())["num_attention_heads"]
        moved = rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
        tensors[name] = Tensor.of(name, tensors[name].type, tensors[name].shape, moved)
    safetensors.write(Archive("safetensors", {"format": "pt"}, tensors), folder / "model.safetensors")
    found = json.loads(run("diff", folder, HUGGING_FACE / "llama-yarn/auto.gguf", "--json").stdout)
    assert [difference["tensor"] for difference in found["differences"]] == ["blk.0.attn_q.weight"]


def test_convert_reports_and_respects_what_is_there(tmp_path: Path) -> None:
    source, target = HUGGING_FACE / "llama-smollm-tied/hf", tmp_path / "m.gguf"
    done = run("convert", source, target, "--json", "--checksums", tmp_path / "sums.json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["tensors"], report["compared"]) == (20, 20)
    assert len(json.loads((tmp_path / "sums.json").read_text())) == 20
    before = target.read_bytes()
    again = run("convert", source, target)
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert target.read_bytes() == before
    forced = run("convert", source, target, "--force", "--type", "q8_0", "--quiet")
    assert (forced.returncode, forced.stdout, forced.stderr) == (0, "", "")
    assert target.read_bytes() != before
    assert (
        main(["diff", str(target), str(HUGGING_FACE / "llama-smollm-tied/q8_0.gguf"), "--no-metadata", "--quiet"]) == 0
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("convert", "x.gguf"),
        ("convert", "x.gguf", "y.apr", "--dtype", "f8"),
        ("convert", "x.gguf", "y", "--max-shard-size", "much"),
        ("inspect",),
        ("validate",),
        ("diff", "x"),
    ],
)
def test_a_command_that_cannot_be_understood_exits_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize("command", ["inspect", "validate", "diff", "convert"])
def test_a_missing_file_is_one_line(tmp_path: Path, command: str) -> None:
    second = {"diff": [tmp_path / "b.gguf"], "convert": [tmp_path / "b.apr"]}.get(command, [])
    done = run_program(command, tmp_path / "a.gguf", *second)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a.gguf" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_early_is_no_error_message(tmp_path: Path) -> None:
    many = save(tmp_path / "many.safetensors", **{f"tensor{i:05}": [1.0] for i in range(3000)})
    command = [sys.executable, "-m", "rosetta_ref.cli", "inspect", str(many)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[2J[bold]evil\u009b"
    done = run("inspect", save(tmp_path / "e.safetensors", **{name: [1.0]}))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J[bold]evil\\x9b" in done.stdout


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5 * 10**9), ("1.5 MiB", 3 * 2**19), ("4096", 4096), ("2g", 2 * 10**9)]
)
def test_sizes(text: str, size: int) -> None:
    assert byte_size(text) == size
