"""The forward pass of every architecture with a golden directory: transformers' logits as recorded, and llama.cpp's.

A directory in `fixtures/golden/architectures` is found by being there. What is only gemma3's is below: each of its operations is
left out or done wrongly in turn, and the recorded logits must show it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rosetta_ref.archive import Kind, Tensor, Value
from rosetta_ref.convert import convert
from rosetta_ref.formats import apr, gguf
from rosetta_ref.inference import NumpyEngine, forward, load
from rosetta_ref.inference.architecture import NoForwardPassError
from rosetta_ref.inference.keys import ParameterError
from rosetta_ref.inference.model import Model
from rosetta_ref.inference.models import MODELS
from rosetta_ref.inference.parameters import of_config, of_gguf
from rosetta_ref.verify import Report, verify
from rosetta_ref.verify.engines import TABLES, write_control
from rosetta_ref.verify.prompts import DEFAULT
from tests.support import gemma, llama

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "architectures"
NAMES = sorted(path.name for path in GOLDEN.iterdir())
GEMMA = GOLDEN / "gemma3"
#: How far float32 may be from the recorded logits, which are up to 32.
LIMIT = 5e-5
#: How far llama.cpp may be: it takes GELU from a table of float16.
OF_LLAMA_CPP = {"silu": 1e-4, "gelu_tanh": 1e-2}


def tokens_of(name: str) -> list[int]:
    asked: list[int] = json.loads((GOLDEN / name / "tokens.json").read_bytes())["tokens"]
    return asked


def form_of(name: str, form: str, folder: Path) -> Path:
    """A golden directory's own file, or APR made of it."""
    if form != "apr":
        return GOLDEN / name / form
    convert(GOLDEN / name / "hf", folder / "m.apr")
    return folder / "m.apr"


def logits_of(path: Path, tokens: list[int], *, precise: bool = False) -> np.ndarray:
    with NumpyEngine(path, precise=precise) as engine:
        (made,) = engine.logits([tokens])
    return made


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    assert expected.std() > 0.1, "logits that say nothing"
    return float(np.abs(found.astype(np.float64) - expected).max())


def test_the_proof_is_here() -> None:
    assert {"qwen3", "gemma3"} <= set(NAMES) <= MODELS.keys()


@pytest.mark.parametrize("precise", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("form", ["hf", "auto.gguf", "apr"])
@pytest.mark.parametrize("name", NAMES)
def test_gives_the_logits_of_transformers(name: str, form: str, precise: bool, tmp_path: Path) -> None:
    found = logits_of(form_of(name, form, tmp_path), tokens_of(name), precise=precise)
    assert apart(found, np.load(GOLDEN / name / "logits.npy")) < LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    """Rows stand in the same order everywhere, and 1 + w is added up in float32, by whoever does it."""
    of_gguf = logits_of(GOLDEN / name / "auto.gguf", tokens_of(name))
    for form in ("hf", "apr"):
        assert logits_of(form_of(name, form, tmp_path), tokens_of(name)).tobytes() == of_gguf.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_of_transformers_4_says_the_same(name: str) -> None:
    made = [of_config(json.loads((GOLDEN / name / file).read_bytes())) for file in ("hf/config.json", "config.v4.json")]
    assert made[0] == made[1]


@pytest.mark.parametrize("name", NAMES)
def test_gives_the_logits_of_llama_cpp(name: str, tmp_path: Path) -> None:
    """In F32, which llama.cpp computes without rounding activations; more tokens than a window has."""
    llama.quantize(GOLDEN / name / "auto.gguf", tmp_path / "m.gguf", "F32")
    tokens = tokens_of(name) * 4
    found = apart(logits_of(tmp_path / "m.gguf", tokens), llama.logits(tmp_path / "m.gguf", tokens))
    assert found < OF_LLAMA_CPP[MODELS[name].activation]


@pytest.mark.parametrize("form", ["hf", "auto.gguf", "apr"])
@pytest.mark.parametrize("name", NAMES)
def test_text_becomes_the_tokens_of_llama_cpp(name: str, form: str, tmp_path: Path) -> None:
    texts = json.loads((GOLDEN / name / "tokens.json").read_bytes())["texts"]
    with load(form_of(name, form, tmp_path)) as engine, load(GOLDEN / name / "auto.gguf", "llama.cpp") as judge:
        for text in ["def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂", *texts]:
            assert engine.tokenize(text) == judge.tokenize(text)
            assert engine.chat(text) == judge.chat(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_and_a_batch_change_nothing(name: str) -> None:
    """Answers to several prompts at once, step by step, are those of the whole computed anew; windows lie within the cache, too."""
    asked = tokens_of(name)
    prompts = [asked[:3], asked, asked[5:6]]
    with NumpyEngine(GOLDEN / name / "hf", precise=True) as engine:
        engine.tokenisation.__dict__["stops"] = frozenset()
        for prompt, answer in zip(prompts, engine.generate(prompts, 12), strict=True):
            assert len(answer) == 12
            (logits,) = engine.logits([[*prompt, *answer]])
            assert logits.argmax(axis=1)[len(prompt) - 1 : -1].tolist() == answer


@pytest.mark.parametrize("name", NAMES)
def test_a_conversion_answers_as_its_source(name: str, tmp_path: Path) -> None:
    for target in ("m.gguf", "m.apr"):
        convert(GOLDEN / name / "hf", tmp_path / target)
        engines = ("numpy", "llama.cpp") if target == "m.gguf" else ("numpy",)
        _require_same(verify(GOLDEN / name / "hf", tmp_path / target, engines=engines, prompts=[_PROMPT]))
        convert(tmp_path / target, tmp_path / f"{target[2:]}-hf")
        _require_same(verify(tmp_path / target, tmp_path / f"{target[2:]}-hf", prompts=[_PROMPT]))


#: Without a letter that Unicode composes: qwen's tokenizer.json does so, and GGUF has no word for it.
_PROMPT = "def half(x):\n    return x / 2  # it's 0.5, naïve, 你好 🙂 and so on, for longer than a window"


def _require_same(report: Report) -> None:
    """The same, whatever it is: a random model may well answer with blanks."""
    assert not [failure for failure in report.failures if failure.kind != "silent"]
    assert report.claim == "lossless"
    assert report.counts["logits"] > 10_000


# --- gemma3 alone


def numbers(**changed: Any) -> Callable[[Model], Model]:
    return lambda model: replace(model, parameters=replace(model.parameters, **changed))


def without(*parts: str) -> Callable[[Model], Model]:
    def change(model: Model) -> Model:
        return replace(model, weights={r: w for r, w in model.weights.items() if r.split(".")[-2] not in parts})

    return change


def stored(model: Model) -> Model:
    """Norms as w, where 1 + w is meant."""
    return replace(model, weights={role: replace(weight, plus_one=False) for role, weight in model.weights.items()})


WRONG: dict[str, Callable[[Model], Model]] = {
    "a window that is one too short": numbers(window=7),
    "a window that is one too long": numbers(window=9),
    "no window": numbers(window=None, sliding=()),
    "the first layer sees everything": numbers(sliding=(False, True, True, True, True, True)),
    "every layer slides": numbers(sliding=(True,) * 6),
    "the two bases swapped": numbers(theta=1e4, local_theta=1e6),
    "one base": numbers(local_theta=None),
    "no scaling": numbers(scaling=None),
    "scaling of all layers": lambda model: numbers(local_scaling=model.parameters.scaling)(model),
    "another scale of scores": numbers(scalar=64.0),
    "a cap": numbers(cap=30.0),
    "norms without their 1": stored,
    "no norms of q and k": without("attn_q_norm", "attn_k_norm"),
    "no norm behind attention": without("post_attention_norm"),
    "no norm behind the feed-forward network": without("post_ffw_norm"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_recorded_logits_show_an_operation_that_is_wrong(wrong: str) -> None:
    with NumpyEngine(GEMMA / "hf") as engine:
        engine.model = WRONG[wrong](engine.model)
        (found,) = engine.logits([tokens_of("gemma3")])
    assert apart(found, np.load(GEMMA / "logits.npy")) > 100 * LIMIT


@pytest.mark.parametrize("wrong", ["erf", "silu"])
def test_recorded_logits_show_another_activation(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    other = forward.silu if wrong == "silu" else lambda x: x / 2 * (1 + erf(x / math.sqrt(2)))
    monkeypatch.setattr(forward, "ACTIVATIONS", {"gelu_tanh": other})
    found = logits_of(GEMMA / "hf", tokens_of("gemma3"), precise=True)
    assert apart(found, np.load(GEMMA / "logits.npy")) > 10 * LIMIT


def test_recorded_logits_show_an_embedding_that_is_not_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = replace(MODELS["gemma3"], scaled_embedding=False)
    monkeypatch.setattr("rosetta_ref.inference.model.MODELS", {"gemma3": plain})
    found = logits_of(GEMMA / "hf", tokens_of("gemma3"))
    assert apart(found, np.load(GEMMA / "logits.npy")) > 100 * LIMIT


def u32(value: int) -> Value:
    return Value.scalar(Kind.U32, value)


#: Keys that change what is computed, as both engines read them; None leaves one out.
KEYS: dict[str, dict[str, Value | None]] = {
    "a longer window": {"attention.sliding_window": u32(13)},
    "no window": {"attention.sliding_window": None},
    "a window of 0": {"attention.sliding_window": u32(0)},
    "every third layer": {"attention.sliding_window_pattern": u32(3)},
    "no layer that sees everything": {"attention.sliding_window_pattern": u32(0)},
    "layers one by one": {"attention.sliding_window_pattern": Value.array(Kind.BOOL, [True, False, False, True, True, True])},
    "the base by default": {"rope.freq_base_swa": None},
    "another base": {"rope.freq_base_swa": Value.scalar(Kind.F32, 500.0)},
    "no scaling": {"rope.scaling.type": None, "rope.scaling.factor": None},
    "a cap": {"final_logit_softcapping": Value.scalar(Kind.F32, 9.0)},
}  # fmt: skip


def rewritten(target: Path, changed: dict[str, Value | None]) -> Path:
    """The golden file in F32 with other keys."""
    write_control(GEMMA / "auto.gguf", target.with_suffix(".f32"))
    with gguf.read(target.with_suffix(".f32")) as archive:
        metadata = archive.metadata | {f"gemma3.{key}": value for key, value in changed.items()}
        kept = {key: value for key, value in metadata.items() if value is not None}
        gguf.write(replace(archive, metadata=kept, parts=()), target)
    return target


@pytest.mark.parametrize("key", KEYS)
def test_a_key_means_what_it_means_to_llama_cpp(key: str, tmp_path: Path) -> None:
    path, tokens = rewritten(tmp_path / "m.gguf", KEYS[key]), tokens_of("gemma3") * 2
    found = logits_of(path, tokens)
    assert apart(found, llama.logits(path, tokens)) < OF_LLAMA_CPP["gelu_tanh"]
    if key != "the base by default":
        assert apart(found, logits_of(GEMMA / "auto.gguf", tokens)) > 100 * OF_LLAMA_CPP["gelu_tanh"]


def configured(**changed: Any) -> dict[str, Any]:
    """The golden configuration with other keys; None leaves one out."""
    made = json.loads((GEMMA / "hf" / "config.json").read_bytes()) | changed
    return {key: value for key, value in made.items() if value is not None}


def test_what_silence_means_is_what_the_configuration_class_says() -> None:
    said = of_config(configured())
    assert of_config(configured(layer_types=None)) == said
    assert of_config(configured(layer_types=None, sliding_window_pattern=3)).sliding == (True, True, False) * 2
    plain = of_config(configured(rope_parameters=None))
    assert (plain.theta, plain.local_theta, plain.scaling, plain.local_scaling) == (1e6, 1e4, None, None)
    assert of_config(configured(rope_parameters=None, rope_theta=5e5, rope_local_base_freq=7.0)).rope(sliding=True) == (
        7.0,
        None,
    )
    assert of_config(configured(sliding_window=None)).window == 4096
    assert of_config(configured(query_pre_attn_scalar=None)).scalar == 256
    bare = of_config({"architectures": ["Gemma3ForCausalLM"]})
    assert (bare.layers, bare.width, bare.heads, bare.groups, bare.head) == (26, 2304, 8, 4, 256)


def test_the_scale_of_27b_is_known_by_its_layers(tmp_path: Path) -> None:
    """config.json says it; llama.cpp knows it by 62 layers, since GGUF has no key for it."""
    with gguf.read(GEMMA / "auto.gguf") as archive:
        metadata = archive.metadata | {"gemma3.block_count": u32(62), "gemma3.embedding_length": u32(128)}
    assert of_gguf(metadata).scalar == 64
    said = configured(num_hidden_layers=62, hidden_size=128, query_pre_attn_scalar=64, layer_types=None)
    assert of_config(said) == of_gguf(metadata)


def test_apr_without_the_metadata_of_gguf_has_a_window_of_its_own(tmp_path: Path) -> None:
    """Its own keys say all but the scaling of rope, which this model does not have then; one that says no window is refused."""
    folder, path = Path(shutil.copytree(GEMMA / "hf", tmp_path / "hf")), tmp_path / "m.apr"
    (folder / "config.json").write_text(json.dumps(configured(rope_parameters=None, rope_local_base_freq=500.0)))
    convert(folder, path, extra_keys=False)
    expected = logits_of(folder, tokens_of("gemma3"))
    assert logits_of(path, tokens_of("gemma3")).tobytes() == expected.tobytes()
    with apr.read(path) as archive:
        left = {key: value for key, value in archive.metadata.items() if key != "sliding_window"}
        assert "rosetta.gguf_metadata" not in left
        apr.write(replace(archive, metadata=left, parts=()), tmp_path / "silent.apr")
    with pytest.raises(ParameterError, match="neither sliding_window nor"):
        NumpyEngine(tmp_path / "silent.apr")


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"hidden_activation": "gelu"}, NoForwardPassError),
        ({"use_bidirectional_attention": True}, NoForwardPassError),
        ({"layer_types": ["chunked_attention"] * 6}, NoForwardPassError),
        ({"layer_types": ["full_attention"] * 5}, ParameterError),
        ({"layer_types": "full_attention"}, ParameterError),
        ({"num_hidden_layers": 1 << 30, "layer_types": None}, ParameterError),
        ({"final_logit_softcapping": 0.0}, ParameterError),
        ({"query_pre_attn_scalar": -1}, ParameterError),
        ({"rope_parameters": {"sliding_attention": 5}}, ParameterError),
    ],
)
def test_what_is_not_computed_is_refused(changed: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        of_config(configured(**changed))


def test_windows_of_qwen3_where_its_configuration_uses_them() -> None:
    config = json.loads((GOLDEN / "qwen3" / "hf" / "config.json").read_bytes())
    del config["layer_types"]
    assert of_config(config).sliding == ()
    used = config | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    assert (of_config(used).window, of_config(used).sliding) == (4, (False, True))
    assert of_config(used).rope(sliding=True) == of_config(used).rope(sliding=False)


def test_a_name_of_gguf_that_means_another_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`post_attention_norm` is the norm before the feed-forward network where the record says so."""
    path = GOLDEN / "qwen3" / "auto.gguf"
    expected = logits_of(path, tokens_of("qwen3"))
    with gguf.read(path) as archive:
        named = {name.replace("ffn_norm", "post_attention_norm"): tensor for name, tensor in archive.tensors.items()}
        tensors = {name: replace(tensor, name=name) for name, tensor in named.items()}
        gguf.write(replace(archive, tensors=tensors, parts=()), tmp_path / "m.gguf")
    weights = tuple(
        replace(role, gguf="blk.{}.post_attention_norm", does=role.gguf) if "ffn_norm" in role.gguf else role
        for role in MODELS["qwen3"].weights
    )
    monkeypatch.setattr("rosetta_ref.inference.model.MODELS", {"qwen3": replace(MODELS["qwen3"], weights=weights)})
    assert logits_of(tmp_path / "m.gguf", tokens_of("qwen3")).tobytes() == expected.tobytes()


def test_an_unknown_architecture_is_told_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(NoForwardPassError, match=r"'mamba', .* computed are gemma3, llama, qwen2, qwen3"):
        NumpyEngine(_of_architecture(tmp_path, "mamba"))


def _of_architecture(folder: Path, name: str) -> Path:
    with gguf.read(GEMMA / "auto.gguf") as archive:
        metadata = archive.metadata | {"general.architecture": Value.scalar(Kind.STRING, name)}
        gguf.write(replace(archive, metadata=metadata, parts=()), folder / "m.gguf")
    return folder / "m.gguf"


def test_verify_names_the_norm_that_lacks_its_1(tmp_path: Path) -> None:
    """The forgotten 1 of one norm, in a type that holds it: a failure, and the weight to blame."""
    name = "blk.2.post_ffw_norm.weight"
    with gguf.read(GEMMA / "auto.gguf") as archive:
        tensor = archive.tensors[name]
        wrong = Tensor.of(name, tensor.type, tensor.shape, tensor.values() - np.float32(1))
        gguf.write(replace(archive, tensors=archive.tensors | {name: wrong}, parts=()), tmp_path / "m.gguf")
    report = verify(GEMMA / "hf", tmp_path / "m.gguf")
    assert {"logits"} <= {failure.kind for failure in report.failures}
    assert report.blame is not None
    assert report.blame.suspects[0].role == name
    assert (report.blame.suspects[0].explains or 0) > 0.999


@pytest.mark.parametrize(("key", "value"), [("window", 9), ("local_theta", 5e5)])
def test_verify_names_the_number_that_changed(key: str, value: float, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GEMMA / "hf", tmp_path / "hf"))
    changed = (
        {"sliding_window": value}
        if key == "window"
        else {
            "rope_parameters": None,
            "rope_theta": 1e6,
            "rope_local_base_freq": value,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        }
    )
    (folder / "config.json").write_text(json.dumps(configured(**changed)))
    report = verify(GEMMA / "auto.gguf", folder)
    assert [failure.detail.split(":")[0] for failure in report.failures if failure.kind == "numbers"] == [key]
    assert report.blame is not None
    assert report.blame.suspects[0].role == key
    assert (report.blame.suspects[0].explains or 0) > 0.999


@pytest.mark.real
def test_the_real_gemma_gives_the_logits_and_tokens_of_llama_cpp(tmp_path: Path) -> None:
    """More tokens than its window of 512; on the numbers of the file in F32, and a window that is off by one shows."""
    path = gemma.model()
    control = write_control(path, tmp_path / "control.gguf")
    text = " ".join(prompt.text for prompt in DEFAULT) * 2
    with load(path) as engine, load(path, "llama.cpp") as judge:
        for prompt in DEFAULT:
            assert engine.tokenize(prompt.text) == judge.tokenize(prompt.text)
        tokens = engine.tokenize(text)[:600]
    assert len(tokens) == 600
    with NumpyEngine(control) as engine:
        (found,) = engine.logits([tokens])
        engine.model = numbers(window=511)(engine.model)
        (wrong,) = engine.logits([tokens])
    expected = llama.logits(control, tokens)
    print(
        f"logits up to {np.abs(expected).max():.3g}, off by {apart(found, expected):.3g}, window 511: {apart(wrong, expected):.3g}"
    )
    assert apart(found, expected) < TABLES["gelu_tanh"]
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99
    seen = np.abs(wrong - expected)
    assert seen[:511].max() < TABLES["gelu_tanh"]
    assert seen[511:].max() > 4 * np.abs(found - expected)[511:].max()
