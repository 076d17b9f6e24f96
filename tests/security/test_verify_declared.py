"""Whatever stands in a file, `verify` ends with a report or with a declared error that names the file."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.architecture import NoForwardPassError
from rosetta_ref.inference.engine import EngineFormatError, NumpyEngine
from rosetta_ref.inference.engines import load
from rosetta_ref.inference.huggingface import CodeInModelError, Mlx
from rosetta_ref.inference.keys import ParameterError
from rosetta_ref.inference.llamacpp import LlamaError
from rosetta_ref.inference.model import MissingWeightError, WeightShapeError
from rosetta_ref.inference.parameters import of_config
from rosetta_ref.inference.rope import frequencies
from rosetta_ref.verify import NoPromptError, UnreadableSourceError, verify
from rosetta_ref.verify.blame import Blame, Suspect
from tests.support import asking

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf"
SOURCE = GOLDEN / "llama-smollm-tied" / "auto.gguf"
LARGE = (1 << 32) - 1
#: Values of no key's own kind.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**64, 10**400, 1e308, -1e308, 1e-45, 0.5, float("nan"), float("inf"), "x", "", [], {}, [[]],
    {"a": 1}, [1], ["x"], [None], [{}], [2**40], "\ud800", "a" * 10_000, json.loads("[" * 50 + "]" * 50), [1] * 1000,
)  # fmt: skip
#: GGUF's spelling of such values.
ODD_KEYS = (
    None, asking.string(""), asking.string("x" * 20_000), asking.string("yarn"), asking.string("\udcff"), asking.u32(0),
    asking.u32(LARGE), asking.f32(float("nan")), asking.f32(float("inf")), asking.f32(0), asking.f32(-1), asking.f32(1e38),
    asking.strings([]), asking.strings(["a", "a"]), asking.strings(["", "b c"]), asking.whole([]), asking.whole([-5] * 256),
)  # fmt: skip
_LLAMA = (
    "block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
    "context_length", "attention.key_length", "attention.value_length", "rope.dimension_count", "rope.freq_base",
    "attention.layer_norm_rms_epsilon", "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear", "expert_count",
    "rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_ext_factor", "rope.scaling.attn_factor",
)  # fmt: skip
_TOKENIZER = (
    "model", "pre", "tokens", "token_type", "merges", "scores", "eos_token_id", "bos_token_id", "eot_token_id",
    "unknown_token_id", "add_bos_token", "add_space_prefix",
)  # fmt: skip
KEYS = [
    "general.architecture", "general.name", "tokenizer.chat_template", "tokenizer.chat_templates",
    *(f"llama.{key}" for key in _LLAMA), *(f"tokenizer.ggml.{key}" for key in _TOKENIZER),
]  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("golden") / "hf"
    convert(SOURCE, made, dtype="f32", keep_blocks=False)
    return made


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value may be put: the first and last of many alike."""
    yield before
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, one in inner[:3] + inner[-2:] if before and len(inner) > 12 else inner:
        if len(before) < 4:
            yield from _places(one, (*before, key))


def _with(value: Any, place: tuple[Any, ...], odd: Any) -> Any:
    if not place:
        return odd
    made = at = json.loads(json.dumps(value))
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = odd
    return made


def _require_declared(source: Path, target: Path, odd: Path) -> None:
    """A report, or an error that names a file."""
    try:
        with np.errstate(all="ignore"):
            report = verify(source, target, count=4, prompts=("a b",))
    except RosettaError as error:
        assert error.file is not None, error  # noqa: PT017
        assert str(error.file).startswith((str(source), str(target))), error  # noqa: PT017
        return
    for failure in report.failures:
        assert "\n" not in failure.detail
        assert len(failure.detail) < 2100
        if failure.kind == "load":
            assert str(odd) in failure.detail


def _both_ways(plain: Path, odd: Path, choice: random.Random) -> None:
    _require_declared(*((odd, plain) if choice.random() < 0.5 else (plain, odd)), odd)


@pytest.mark.parametrize("share", [0.015, pytest.param(0.5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_any_value_in_a_directory(name: str, share: float, directory: Path, tmp_path: Path) -> None:
    choice = random.Random(16)
    stated = json.loads((directory / name).read_text()) if (directory / name).exists() else {"eos_token_id": [1]}
    odd = Path(shutil.copytree(directory, tmp_path / "odd"))
    tried = 0
    for place in _places(stated):
        for value in ODD:
            if choice.random() < (share if name != "generation_config.json" else 10 * share):
                (odd / name).write_text(json.dumps(_with(stated, place, value)))
                _both_ways(SOURCE, odd, choice)
                tried += 1
    assert tried > 3


@pytest.mark.parametrize("share", [0.08, pytest.param(1, marks=pytest.mark.slow)])
def test_any_value_in_gguf_metadata(share: float, tmp_path: Path) -> None:
    choice = random.Random(17)
    plain = asking.gguf(tmp_path / "plain.gguf", seed=1)
    for key in KEYS:
        for value in ODD_KEYS:
            if choice.random() < share:
                more = {"llama.rope.scaling.type": asking.string("yarn")} if "yarn" in key or "factor" in key else {}
                _both_ways(plain, asking.gguf(tmp_path / "odd.gguf", keys=more | {key: value}), choice)


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ({"block_count": LARGE}, MissingWeightError),
        ({"attention.head_count": LARGE}, WeightShapeError),
        ({"attention.head_count": LARGE - 1, "attention.head_count_kv": LARGE}, ParameterError),
        ({"attention.head_count": LARGE, "attention.head_count_kv": LARGE}, WeightShapeError),
        ({"attention.key_length": LARGE - 1, "attention.value_length": LARGE - 1, "rope.dimension_count": LARGE - 1},
         WeightShapeError),
        ({"embedding_length": LARGE}, WeightShapeError),
        ({"feed_forward_length": LARGE}, WeightShapeError),
        ({"attention.head_count": 0}, ParameterError),
        ({"expert_count": LARGE}, NoForwardPassError),
    ],
)  # fmt: skip
def test_numbers_that_the_weights_do_not_bear_out(numbers: dict[str, int], error: type, tmp_path: Path) -> None:
    path = asking.gguf(tmp_path / "m.gguf", keys={f"llama.{key}": asking.u32(value) for key, value in numbers.items()})
    with pytest.raises(error) as caught:
        NumpyEngine(path)
    assert caught.value.file == path


@pytest.mark.parametrize(
    "rope",
    [
        {"factor": 2.0, "original_max_position_embeddings": 2**40},
        {"factor": 2.0, "original_max_position_embeddings": 64, "beta_fast": 0},
        {"factor": 2.0, "original_max_position_embeddings": 64, "beta_slow": -1.0},
        {"factor": 2.0, "original_max_position_embeddings": 64, "rope_theta": 1.0},
        {"factor": 2.0, "original_max_position_embeddings": 64, "rope_theta": 0.0},
        {"factor": 2.0, "original_max_position_embeddings": [64]},
        {"factor": 2.0, "original_max_position_embeddings": 64, "attention_factor": "1"},
        {"factor": 10**400},
    ],
)
def test_a_scaling_that_cannot_be_computed(rope: dict[str, Any]) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1,
        "intermediate_size": 8, "max_position_embeddings": 128, "rope_scaling": {"rope_type": "yarn"} | rope,
    }  # fmt: skip
    with pytest.raises(ParameterError):
        frequencies(of_config(config))


@pytest.mark.parametrize("architectures", [5, {}, {"a": 1}, True, "LlamaForCausalLM", [5], [[]], [{}], [None]])
def test_architectures_of_any_type(architectures: Any) -> None:
    with pytest.raises((ParameterError, NoForwardPassError)):
        of_config({"architectures": architectures})


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "directory", "loop", "missing"])
def test_what_is_no_file_is_refused_and_not_waited_for(name: str, kind: str, directory: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(directory, tmp_path / "odd"))
    (odd / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(odd / name)
    elif kind == "directory":
        (odd / name).mkdir()
    else:
        (odd / name).symlink_to(name if kind == "loop" else "nowhere")
    with pytest.raises(UnreadableSourceError, match=name):
        verify(odd, SOURCE)
    (failure,) = verify(SOURCE, odd).failures[-1:]
    assert failure.kind == "load"
    assert name in failure.detail


@pytest.mark.parametrize("kind", ["pipes", "loops", "missing"])
def test_models_that_are_no_files(kind: str, tmp_path: Path) -> None:
    """To see whether one is a copy of the other, both were opened: two pipes are of the same size."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        if kind == "pipes":
            os.mkfifo(path)
        elif kind == "loops":
            path.symlink_to(path)
    with pytest.raises(UnreadableSourceError) as caught:
        verify(*paths)
    assert caught.value.file == paths[0]


@pytest.mark.parametrize("kind", ["pipe", "directory", "missing", "latin-1", "sparse", "empty"])
def test_a_text_to_ask(kind: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    if kind == "pipe":
        os.mkfifo(text)
    elif kind == "directory":
        text.mkdir()
    elif kind != "missing":
        text.write_bytes(b"caf\xe9" if kind == "latin-1" else b"")
    if kind == "sparse":
        os.truncate(text, 1 << 34)
    source, target = (asking.gguf(tmp_path / f"{i}.gguf", seed=i) for i in range(2))
    with pytest.raises(NoPromptError, match=r"text\.txt"):
        verify(source, target, text=text)


def test_a_model_without_rows(tmp_path: Path) -> None:
    with pytest.raises(WeightShapeError, match="no rows") as caught:
        NumpyEngine(asking.gguf(tmp_path / "m.gguf", vocabulary=0))
    assert caught.value.file == tmp_path / "m.gguf"


def test_a_source_whose_tokens_have_no_rows_is_no_measure(directory: Path, tmp_path: Path) -> None:
    """The converted model was blamed for it."""
    odd = Path(shutil.copytree(directory, tmp_path / "odd"))
    stated = json.loads((odd / "tokenizer.json").read_text())
    stated["model"]["vocab"] = {token: i + (1 << 31) for token, i in stated["model"]["vocab"].items()}
    (odd / "tokenizer.json").write_text(json.dumps(stated))
    with pytest.raises(UnreadableSourceError, match=r"the token 21474.*and a vocabulary of 320"):
        verify(odd, SOURCE)
    _require_declared(SOURCE, odd, odd)


def test_blame_is_json_whatever_it_found() -> None:
    """A weight whose swap makes it worse by infinity explains minus infinity."""
    found = Blame("step", [Suspect("role", "step", float("inf"), -float("inf"))], float("nan"))
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["suspects"][0]["role"] == "role"


def test_a_source_whose_scaling_cannot_be_computed_is_named(tmp_path: Path) -> None:
    keys = {
        "llama.rope.scaling.type": asking.string("yarn"), "llama.rope.scaling.yarn_beta_fast": asking.f32(0),
        "llama.rope.scaling.factor": asking.f32(2),
    }  # fmt: skip
    odd, plain = asking.gguf(tmp_path / "odd.gguf", keys=keys), asking.gguf(tmp_path / "plain.gguf", seed=1)
    _require_declared(plain, odd, odd)
    with pytest.raises(UnreadableSourceError, match=r"odd\.gguf: rope cannot be computed"):
        verify(odd, plain)


def test_words_of_a_file_are_one_line_of_a_report(tmp_path: Path) -> None:
    odd = [*asking.alphabet()[:-1], "\n::error::forged\u202e" + "x" * 5000]
    source, target = asking.gguf(tmp_path / "s.gguf"), asking.gguf(tmp_path / "t.gguf", tokens=odd, seed=1)
    report = verify(source, target)
    assert any("spelled otherwise" in failure.detail for failure in report.failures)
    for line in [*map(str, report.failures), *report.notes]:
        assert "\n" not in line
        assert "\u202e" not in line
        assert len(line) < 2200


def test_an_assertion_of_llama_cpp_ends_another_process(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    from rosetta_ref.inference.trial import require_alive

    twice = [*asking.alphabet(), "same", "same"]
    path = asking.gguf(tmp_path / "m.gguf", tokens=twice)
    with pytest.raises(LlamaError, match=r"ended its process with -6.*GGML_ASSERT") as caught:
        require_alive(path, ["hello"])
    assert caught.value.file == path
    require_alive(SOURCE, ["hello"])


@pytest.mark.parametrize("engine", ["transformers", "mlx-lm"])
def test_other_loaders_run_nothing_that_lies_beside_the_weights(engine: str, directory: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(directory, tmp_path / "odd"))
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps(config | {"model_file": "model.py"}))
    with pytest.raises(CodeInModelError, match=r"model_file is 'model\.py'"):
        load(odd, engine)
    shutil.copy(directory / "config.json", odd)
    (odd / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(CodeInModelError, match="adapter_config"):
        load(odd, engine)


def test_other_loaders_fetch_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Auto:
        @staticmethod
        def from_pretrained(*_: Any, **options: Any) -> None:
            asked.append(options)
            raise ValueError("enough")

    class Library:
        AutoModelForCausalLM = Auto
        float32 = None

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr("rosetta_ref.inference.huggingface.library", lambda *_: Library)
    with pytest.raises(RosettaError, match="enough") as caught:
        load(directory, "transformers")
    assert caught.value.file == directory
    (options,) = asked
    assert options["trust_remote_code"] is False
    assert options["local_files_only"] is True
    assert options["use_safetensors"] is True
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"


def test_a_file_that_is_no_directory_is_none_of_theirs(tmp_path: Path) -> None:
    with pytest.raises(EngineFormatError):
        Mlx(asking.gguf(tmp_path / "m.gguf"))
