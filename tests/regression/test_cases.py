"""Inputs that this package once read wrongly, and others of their kinds: docs/cases.md lists them with the source of each right value.

Every input is made by struct and JSON (`tests.support.cases`). What transformers 5.24.0 (tokenizers 0.23.3) said of the directories is typed
here, as is what llama.cpp (llama-cpp-python 0.3.36) said of the GGUF files; gguf-py reads what was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

import rosetta_ref
from rosetta_ref import RosettaError, places
from rosetta_ref.architectures.checked import LayersDifferError
from rosetta_ref.architectures.complete import MissingTensorError, TokenCountError
from rosetta_ref.architectures.huggingface import UnreadBiasError
from rosetta_ref.architectures.tokenizer.around import SeveralAddError
from rosetta_ref.architectures.tokenizer.bpe import BrokenMergeError, MissingMergesError
from rosetta_ref.architectures.windows import LayerKindError, NoWindowError
from rosetta_ref.cli import main
from rosetta_ref.foreign import PointerError
from rosetta_ref.verify import Report, verify
from tests.support.cases import (
    BOS,
    END,
    INNER,
    PAD,
    POINTER,
    SPECIAL,
    TOKENS,
    config,
    directory,
    gguf,
    gguf_bytes,
    keys,
    safetensors,
    text,
    texts,
    tokenizer,
    tokenizer_config,
    u32,
    u32s,
    weights,
    without,
)

BEGIN, STOP, FILL = SPECIAL
GGML = "tokenizer.ggml."


def slowly(cases: Iterable[Any], *, every: int, marks: Any = pytest.mark.slow) -> list[Any]:
    """Of the cases, each so many-th one in every run, the others in slow ones."""
    as_tuples = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*one, marks=marks if place % every else ()) for place, one in enumerate(as_tuples)]


def written(source: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What gguf-py reads of the GGUF file that a directory becomes: metadata and tensors; and the notes."""
    report = rosetta_ref.convert(source, tmp_path / "out.gguf")
    reader = GGUFReader(tmp_path / "out.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    return fields, {tensor.name: np.array(tensor.data) for tensor in reader.tensors}, report.notes


def verified(source: Path, tmp_path: Path) -> Report:
    return verify(source, tmp_path / "out.gguf", prompts=["the he"], count=4)


# --- 01, 02: validate


def test_a_gain_of_a_norm_may_be_large(tmp_path: Path) -> None:
    assert main(["validate", str(gguf(tmp_path / "m.gguf", keys(), gain=324))]) == 0


def test_sums_of_an_importance_matrix_are_no_weights(tmp_path: Path) -> None:
    sums = {
        "blk.0.attn_q.weight.in_sum2": np.full((1, 8), 5e3, "<f4"),
        "blk.0.attn_q.weight.counts": np.full((1, 1), 512, "<f4"),
    }
    (tmp_path / "m.gguf").write_bytes(gguf_bytes({"general.type": text("imatrix")}, sums))
    assert main(["validate", str(tmp_path / "m.gguf")]) == 0


# --- 03: what is added around a text. The ids are those of transformers' AutoTokenizer for "the".


def _special(token: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def template(front: list[str], back: list[str]) -> dict[str, Any]:
    first, second = ({"Sequence": {"id": name, "type_id": place}} for place, name in enumerate("AB"))
    single = [*map(_special, front), first, *map(_special, back)]
    known = {one: {"id": one, "ids": [BOS + SPECIAL.index(one)], "tokens": [one]} for one in front + back}
    return {"type": "TemplateProcessing", "single": single, "pair": [*single, second], "special_tokens": known}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "processors": list(steps)}


LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BERT = {"type": "BertProcessing", "sep": [STOP, END], "cls": [BEGIN, BOS]}
ROBERTA = {**BERT, "type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False}
FORMS = [
    (None, [83, 256]), (LEVEL, [83, 256]), (template([BEGIN], []), [262, 83, 256]), (template([BEGIN], [STOP]), [262, 83, 256, 263]),
    (template([], [STOP]), [83, 256, 263]), (sequence(LEVEL, template([BEGIN], [])), [262, 83, 256]),
    (sequence(LEVEL, sequence(template([BEGIN], []))), [262, 83, 256]), (ROBERTA, [262, 83, 256, 263]), (BERT, [262, 83, 256, 263]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "ids", "stated"), slowly(((*one, said) for one in FORMS for said in (None, True, False)), every=4)
)
def test_tokenizer_json_says_what_is_added(form: Any, ids: list[int], stated: bool | None, tmp_path: Path) -> None:
    flags = {} if stated is None else {"add_bos_token": stated, "add_eos_token": stated}
    files = {"tokenizer.json": tokenizer(post_processor=form), "tokenizer_config.json": tokenizer_config(**flags)}
    fields, _, _ = written(directory(tmp_path / "hf", files), tmp_path)
    for flag, token, added in (("bos", BOS, ids[0] == BOS), ("eos", END, ids[-1] == END)):
        said = fields.get(f"{GGML}add_{flag}_token")
        assert bool(said) is added
        assert stated is None or said is not None
        assert fields[f"{GGML}{flag}_token_id"] == token


def test_the_same_tokens_afterwards(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": tokenizer(post_processor=template([BEGIN], [])),
        "tokenizer_config.json": tokenizer_config(add_bos_token=False),
    }
    source = directory(tmp_path / "hf", files)
    written(source, tmp_path)
    assert verified(source, tmp_path).same


def test_a_token_that_is_added_is_the_bos_where_nobody_names_one(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": tokenizer(post_processor=template([BEGIN], [])), "config.json": config(**without("bos_token_id")),
        "tokenizer_config.json": tokenizer_config(**without("bos_token")),
    }  # fmt: skip
    fields, _, _ = written(directory(tmp_path / "hf", files), tmp_path)
    assert (fields[f"{GGML}bos_token_id"], fields[f"{GGML}add_bos_token"]) == (BOS, True)


def test_another_token_behind_is_the_end_and_the_named_one_the_end_of_a_turn(tmp_path: Path) -> None:
    files = {"tokenizer.json": tokenizer(post_processor=template([], [FILL]))}
    fields, _, _ = written(directory(tmp_path / "hf", files), tmp_path)
    assert (fields[f"{GGML}eos_token_id"], fields[f"{GGML}eot_token_id"], fields[f"{GGML}add_eos_token"]) == (
        PAD,
        END,
        True,
    )


@pytest.mark.parametrize("front", [[FILL], [FILL, BEGIN], [BEGIN, FILL]])
def test_tokens_in_front_that_gguf_cannot_say_are_noted(front: list[str], tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", {"tokenizer.json": tokenizer(post_processor=template(front, []))})
    assert any(FILL in note and "BOS" in note for note in written(source, tmp_path)[2])


def test_two_steps_that_add_are_refused(tmp_path: Path) -> None:
    """`tokenizers` makes [262, 263, 83, 256] of it: the end stands in front."""
    form = sequence(template([BEGIN], []), template([], [STOP]))
    with pytest.raises(SeveralAddError):
        written(directory(tmp_path / "hf", {"tokenizer.json": tokenizer(post_processor=form)}), tmp_path)


# --- 04, 05: chat templates, as transformers' AutoTokenizer has them

LIST = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]
TOOL = "additional_chat_templates/tool_use.jinja"
TEMPLATES = [
    ("S", {}, {"": "S"}), (LIST, {}, {"": "D", "tool_use": "T"}), ({"default": "D", "rag": "R"}, {}, {"": "D", "rag": "R"}),
    ("S", {"chat_template.jinja": "J"}, {"": "J"}), (LIST, {"chat_template.jinja": "J"}, {"": "J"}), ("S", {TOOL: "F"}, {"tool_use": "F"}),
    (None, {"chat_template.jinja": "J", TOOL: "F"}, {"": "J", "tool_use": "F"}),
    (None, {"chat_template.json": {"chat_template": "X"}}, {"": "X"}),  # a processor's; llama.cpp's converter takes it
]  # fmt: skip


@pytest.mark.parametrize(("stated", "files", "right"), slowly(TEMPLATES, every=3))
def test_templates_of_files_take_the_place_of_others(
    stated: Any, files: Any, right: dict[str, str], tmp_path: Path
) -> None:
    said = {} if stated is None else {"chat_template": stated}
    source = directory(tmp_path / "hf", {"tokenizer_config.json": tokenizer_config(**said), **files})
    fields, _, notes = written(source, tmp_path)
    found = {
        key.removeprefix("tokenizer.chat_template").lstrip("."): value
        for key, value in fields.items()
        if key.startswith("tokenizer.chat_template") and key != "tokenizer.chat_templates"
    }
    assert found == right
    assert sorted(fields.get("tokenizer.chat_templates", [])) == sorted(name for name in right if name)
    assert any("another chat template" in note for note in notes) == (stated is not None and bool(files))


def test_the_folder_of_templates_comes_back(tmp_path: Path) -> None:
    files = {"chat_template.jinja": "NEW", TOOL: "TOOL"}
    source = directory(tmp_path / "hf", files)
    written(source, tmp_path)
    for number, options in enumerate(({}, {"extra_keys": False})):
        rosetta_ref.convert(tmp_path / "out.gguf", tmp_path / f"back{number}", **options)
        assert {name: (tmp_path / f"back{number}" / name).read_text() for name in files} == files


# --- 06, 09: the head


@pytest.mark.parametrize("said", [{"tie_word_embeddings": False}, without("tie_word_embeddings")])
def test_a_head_of_its_own_has_to_be_there(said: dict[str, Any], tmp_path: Path) -> None:
    """LlamaConfig of transformers ties nothing where config.json is silent, and makes up a head at random."""
    source = directory(tmp_path / "hf", {"config.json": config(**said)}, weights(head=False))
    with pytest.raises(MissingTensorError, match="lm_head"):
        written(source, tmp_path)


def test_a_tied_model_with_another_head_has_that_one(tmp_path: Path) -> None:
    tensors = weights()
    source = directory(tmp_path / "hf", {"config.json": config(tie_word_embeddings=True)}, tensors)
    _, made, notes = written(source, tmp_path)
    assert np.array_equal(made["output.weight"], tensors["lm_head.weight"])
    assert np.array_equal(made["token_embd.weight"], tensors["model.embed_tokens.weight"])
    assert any("both are written" in note for note in notes)
    assert verified(source, tmp_path).same


def test_a_tied_model_of_which_the_head_is_stored_has_one_matrix(tmp_path: Path) -> None:
    tensors = weights(embedding=False)
    source = directory(tmp_path / "hf", {"config.json": config(tie_word_embeddings=True)}, tensors)
    _, made, _ = written(source, tmp_path)
    assert np.array_equal(made["token_embd.weight"], tensors["lm_head.weight"])
    assert "output.weight" not in made
    assert verified(source, tmp_path).same


# --- 07: windows, and other things that config.json can say

MISTRAL = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
QWEN = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
ASKED = {**QWEN, "use_sliding_window": True, "sliding_window": 16}
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


@pytest.mark.parametrize("said", [
    {**MISTRAL, "sliding_window": 16}, {**MISTRAL, "max_position_embeddings": 8192},  # silence is 4096 to MistralConfig
    {**ASKED, "max_window_layers": 0}, {**ASKED, "layer_types": ["sliding_attention"]},
    {**ASKED, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 4, "max_window_layers": 0},
])  # fmt: skip
def test_a_window_that_llamacpp_does_not_have_is_refused(said: dict[str, Any], tmp_path: Path) -> None:
    norms = {
        f"model.layers.0.self_attn.{one}_norm.weight": np.ones(4, "<f4")
        for one in "qk"
        if "Qwen3" in said["architectures"][0]
    }
    biases = QKV if said["model_type"] == "qwen2" else ()
    source = directory(tmp_path / "hf", {"config.json": config(**said)}, weights(biases=biases) | norms)
    with pytest.raises(NoWindowError):
        written(source, tmp_path)


@pytest.mark.parametrize("said", [
    {**MISTRAL, "sliding_window": None}, {**MISTRAL, "sliding_window": 128}, MISTRAL, {"sliding_window": 16},
    {**QWEN, "sliding_window": 16}, ASKED, {**ASKED, "max_window_layers": 1}, {**ASKED, "max_window_layers": 0, "sliding_window": 128},
    {**ASKED, "layer_types": ["full_attention"]},
])  # fmt: skip
def test_a_window_that_hides_nothing_is_none(said: dict[str, Any], tmp_path: Path) -> None:
    biases = QKV if said.get("model_type") == "qwen2" else ()
    source = directory(tmp_path / "hf", {"config.json": config(**said)}, weights(biases=biases))
    written(source, tmp_path)
    assert verified(source, tmp_path).same


def test_layers_that_slide_without_a_window_are_refused(tmp_path: Path) -> None:
    source = directory(
        tmp_path / "hf", {"config.json": config(**QWEN, layer_types=["sliding_attention"])}, weights(biases=QKV)
    )
    with pytest.raises(LayerKindError):
        written(source, tmp_path)


def test_verify_judges_the_window_of_config_json(tmp_path: Path) -> None:
    """The very weights without the window, as a converter that drops it writes them."""
    plain, slides = (
        directory(tmp_path / name, {"config.json": config(**MISTRAL, sliding_window=window)})
        for name, window in (("plain", None), ("slides", 16))
    )
    written(plain, tmp_path)
    assert verified(plain, tmp_path).same
    found = verified(slides, tmp_path)
    assert "window: 16 became None" in str(found.failures[0])


@pytest.mark.parametrize(("said", "biases"), [
    ({"attention_bias": False}, QKV), ({}, ("self_attn.o_proj",)), ({"mlp_bias": False, "attention_bias": True}, ("mlp.up_proj",)),
    ({**MISTRAL, "attention_bias": True}, QKV),  # MistralAttention has none, whatever config.json says
])  # fmt: skip
def test_biases_that_transformers_does_not_read_are_refused(said: Any, biases: tuple[str, ...], tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", {"config.json": config(**said)}, weights(biases=biases))
    with pytest.raises(UnreadBiasError):
        written(source, tmp_path)
    told = {"attention_bias": True, "mlp_bias": True, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    other = directory(tmp_path / "told", {"config.json": config(**said | told)}, weights(biases=biases))
    written(other, tmp_path)
    assert verified(other, tmp_path).same
    assert not verified(source, tmp_path).same


# --- 08: special tokens, as transformers has them

NAMELESS = tokenizer_config(**without("bos_token", "eos_token"))
SILENT = config(**without("bos_token_id", "eos_token_id"))
PADDING = {
    "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": PAD, "pad_type_id": 0, "pad_token": FILL,
}  # fmt: skip
PLACES: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({"config.json": config(eos_token_id=[END, PAD])}, {"eos": END}),
    ({"config.json": SILENT, "generation_config.json": {"eos_token_id": [END]}}, {"eos": END}),
    ({"config.json": SILENT, "generation_config.json": {"eos_token_id": END, "pad_token_id": PAD}}, {"eos": END, "padding": PAD}),
    ({"config.json": SILENT, "special_tokens_map.json": {"bos_token": BEGIN, "eos_token": {"content": STOP}}}, {"bos": BOS, "eos": END}),
    ({"special_tokens_map.json": {"bos_token": BEGIN, "pad_token": FILL}}, {"bos": BOS, "padding": PAD}),
    ({"tokenizer_config.json": tokenizer_config(), "special_tokens_map.json": {"bos_token": FILL}}, {"bos": PAD}),
    ({"tokenizer_config.json": tokenizer_config(added_tokens_decoder={}), "special_tokens_map.json": {"bos_token": FILL}}, {"bos": BOS}),
    ({"tokenizer.json": tokenizer(padding=PADDING)}, {"padding": PAD}),
    ({"tokenizer_config.json": tokenizer_config(pad_token={"content": FILL})}, {"padding": PAD}),
    ({"config.json": config(pad_token_id=PAD)}, {"padding": PAD}), ({"config.json": config(pad_token_id=-1)}, {}),
    ({"tokenizer_config.json": tokenizer_config(bos_token="he")}, {"bos": 256}),
]  # fmt: skip


@pytest.mark.parametrize(("files", "right"), slowly(PLACES, every=3))
def test_special_tokens_are_found_where_transformers_looks(
    files: dict[str, Any], right: dict[str, int], tmp_path: Path
) -> None:
    source = directory(tmp_path / "hf", {"tokenizer_config.json": NAMELESS, **files})
    fields, _, notes = written(source, tmp_path)
    for name in ("bos", "eos", "padding"):
        if name in right:
            assert fields[f"{GGML}{name}_token_id"] == right[name]
    assert f"{GGML}padding_token_id" in fields or "padding" not in right
    assert any(str(PAD) in note for note in notes) == (
        "eos_token_id" in str(files.get("config.json")) and "[263, 264]" in str(files)
    )
    assert verified(source, tmp_path).same


# --- 10: more tokens than rows


def test_a_token_without_a_row_is_refused_in_every_direction(tmp_path: Path) -> None:
    source = gguf(tmp_path / "m.gguf", keys(), rows=TOKENS - 2)
    for target in ("out", "out.safetensors"):
        with pytest.raises(TokenCountError):
            rosetta_ref.convert(source, tmp_path / target)
    rows = directory(tmp_path / "hf", {"config.json": config(vocab_size=TOKENS - 2)}, weights(rows=TOKENS - 2))
    with pytest.raises(RosettaError, match="263"):
        rosetta_ref.convert(rows, tmp_path / "out.gguf")


# --- 11: byte-level BPE without merges


def test_bpe_without_merges_is_refused(tmp_path: Path) -> None:
    source = gguf(tmp_path / "m.gguf", keys(**without(f"{GGML}merges")))
    with pytest.raises(MissingMergesError, match=r"tokenizer\.ggml\.merges"):
        rosetta_ref.convert(source, tmp_path / "out")
    assert main(["validate", str(source)]) == 1


def test_an_empty_list_of_merges_is_noted(tmp_path: Path) -> None:
    """The library `tokenizers` and llama.cpp take it, and cut every text into bytes."""
    source = directory(tmp_path / "hf", {"tokenizer.json": tokenizer(model={"merges": []})})
    assert any("merges" in note for note in written(source, tmp_path)[2])
    assert verified(source, tmp_path).same
    llama = pytest.importorskip("llama_cpp")
    model = llama.Llama(str(tmp_path / "out.gguf"), vocab_only=True, verbose=False)
    assert model.tokenize(b"the", add_bos=False) == [83, 71, 68]


def test_a_tokenizer_json_without_merges_is_refused(tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", {"tokenizer.json": tokenizer(model={"merges": None})})
    with pytest.raises(MissingMergesError):
        rosetta_ref.convert(source, tmp_path / "out.gguf")
    assert main(["validate", str(source)]) == 1


# --- 12: messages


@pytest.mark.parametrize("command", ["validate", "inspect", "convert", "verify"])
@pytest.mark.parametrize("name", ["m.gguf", "m.apr", "m.safetensors"])
def test_a_pointer_of_git_lfs_is_told_by_name(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(POINTER)
    more = [str(tmp_path / "out")] if command in ("convert", "verify") else []
    assert main([command, str(tmp_path / name), *more]) != 0
    assert "a Git LFS pointer: the file itself was not downloaded" in capsys.readouterr().err


@pytest.mark.parametrize("name", [
    "model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
    "tokenizer.model", "chat_template.jinja", "merges.txt", TOOL,
])  # fmt: skip
def test_a_pointer_in_a_directory_is_told_by_name(name: str, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", {name: POINTER})
    with pytest.raises(PointerError) as error:
        rosetta_ref.convert(source, tmp_path / "out.gguf")
    assert Path(str(error.value.file)).name == Path(name).name
    assert main(["validate", str(source)]) == (
        name != TOOL
    )  # weights and numbers are judged; the folder's templates are no part of them


def test_a_picture_that_was_not_downloaded_is_no_loss(tmp_path: Path) -> None:
    written(directory(tmp_path / "hf", {"logo.png": POINTER}), tmp_path)


@pytest.mark.parametrize(
    ("merge", "said"), [("nosep", "the merge 'nosep' has no space"), ("x yz", "the merge 'x yz' is not of tokens")]
)
def test_a_merge_is_shown_as_it_stands(merge: str, said: str, tmp_path: Path) -> None:
    source = gguf(tmp_path / "m.gguf", keys(**{f"{GGML}merges": texts("h e", merge)}))
    with pytest.raises(BrokenMergeError, match=said):
        rosetta_ref.convert(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "number"),
    slowly(
        ((name, number) for number in (2**32 - 1, TOKENS) for name in ("padding", "bos", "eos", "unknown", "eot")),
        every=5,
    ),
)
def test_a_special_token_that_is_none_is_noted_and_absent(name: str, number: int, tmp_path: Path) -> None:
    """llama.cpp: bad special token: 'tokenizer.ggml.padding_token_id' = 4294967295, using default id -1."""
    source = gguf(tmp_path / "m.gguf", keys(**{f"{GGML}{name}_token_id": u32(number)}))
    report = rosetta_ref.convert(source, tmp_path / "out")
    assert any(f"{GGML}{name}_token_id is {number}" in note for note in report.notes)
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    assert number not in [said.get(f"{one}_token_id") for one in ("bos", "eos", "pad")]
    assert verify(source, tmp_path / "out", prompts=["the he"], count=4).same


PER_LAYER = {"attention.head_count": 2, "attention.head_count_kv": 1, "feed_forward_length": INNER}


@pytest.mark.parametrize("key", PER_LAYER)
def test_layers_that_say_the_same_are_one_number(key: str, tmp_path: Path) -> None:
    source = gguf(tmp_path / "m.gguf", keys(**{f"llama.{key}": u32s(PER_LAYER[key])}))
    rosetta_ref.convert(source, tmp_path / "out")
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (said["num_attention_heads"], said["num_key_value_heads"], said["intermediate_size"]) == (2, 1, INNER)
    assert verify(source, tmp_path / "out", prompts=["the he"], count=4).same
    longer = gguf(tmp_path / "longer.gguf", keys(**{f"llama.{key}": u32s(PER_LAYER[key], 4)}))
    with pytest.raises(LayersDifferError, match=key):
        rosetta_ref.convert(longer, tmp_path / "other")


def test_what_is_made_is_a_safetensors_file_for_others(tmp_path: Path) -> None:
    """The inputs themselves: the foreign library reads the weights that these tests write."""
    library = pytest.importorskip("safetensors.numpy")
    (tmp_path / "m.safetensors").write_bytes(safetensors(weights()))
    read = library.load_file(tmp_path / "m.safetensors")
    assert all(np.array_equal(read[name], values) for name, values in weights().items())


def test_the_document_is_the_table_of_places() -> None:
    assert (Path(__file__).parents[2] / "docs" / "places.md").read_text("utf-8") == places.document()
