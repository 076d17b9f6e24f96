"""Tokenizers of the samples: full vocabularies are those of published models, and a converter gets those that it takes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rosetta_ref.gate.converter import named
from rosetta_ref.gate.converter.entry import Entry
from rosetta_ref.gate.converter.words import FULL
from rosetta_ref.gate.inputs import default, tokenizers, vocabularies
from rosetta_ref.gate.smoke.smoke import smoke

#: The text of `get_vocab_base_pre` in `conversion/base.py` of llama.cpp, and its hashes (llama-cpp-python 0.3.36).
TEXT = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ (multiple emojis concatenated) ✅ 🦙🦙 3 33 333 3333 33333"
    " 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= нещо на Български "
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like "
    "some tea? We'Ve a'lL"
)
HASHES = {
    "full-gpt2": "3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454",
    "full-smollm2": "855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249",
    "full-qwen2": "e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea",
}
SIZES = {"full-gpt2": (50257, 50000), "full-smollm2": (49152, 48900), "full-qwen2": (151646, 151387)}
TAKEN = ("spm", "gemma", *FULL)


@pytest.mark.parametrize("name", FULL)
def test_llamacpp_knows_a_full_vocabulary_by_its_hash(name: str) -> None:
    library = pytest.importorskip("tokenizers")
    keys = tokenizers.vocabulary(name)
    sizes = tuple(len(keys[f"tokenizer.ggml.{part}"].data) for part in ("tokens", "merges"))
    assert sizes == SIZES[name]
    made = library.Tokenizer.from_str(tokenizers.files(keys)["tokenizer.json"].decode())
    assert hashlib.sha256(str(made.encode(TEXT).ids).encode()).hexdigest() == HASHES[name]


def test_the_vocabularies_are_small_and_their_notice_names_their_sums() -> None:
    folder = Path(vocabularies.__path__[0])
    found = {path: path.read_bytes() for path in folder.glob("*.xz")}
    assert sum(map(len, found.values())) < 1_000_000
    notice = (folder / "NOTICE.md").read_text("utf-8")
    for path, data in found.items():
        line = next(line for line in notice.splitlines() if line.startswith(f"| {path.name} |"))
        assert hashlib.sha256(data).hexdigest() in line
    assert len(found) == len(FULL)


def test_every_model_has_a_tokenizer_that_is_taken() -> None:
    made = default.default(0, types=("F32", "F16", "BF16"), whole_models=True, tokenizers=TAKEN)
    kinds = {each.name: each.model.metadata["tokenizer.ggml.model"].plain() for each in made}
    assert sorted(name for name, kind in kinds.items() if kind == "gpt2") == [
        "llama-full-gpt2", "llama-full-smollm2", "qwen2-full-qwen2",
    ]  # fmt: skip
    everything = default.default(0, types=("F32", "F16", "BF16"), whole_models=True)
    # What is asked with words of one tokenizer alone is not asked without it.
    assert {each.name for each in everything} - {"qwen2-words"} == {name for name in kinds if "full" not in name}


def test_who_takes_full_vocabularies_alone_gets_every_case_in_one_model() -> None:
    made = default.default(0, types=("F32", "F16", "BF16"), whole_models=True, tokenizers=("full-smollm2",))
    assert [each.name for each in made] == ["llama-full-smollm2"]
    cases = {tuple(label.split("/")[::2]) for label in made[0].labels.values()}
    wanted = ("index-coded", "edges", "halfway", "zero")
    assert {("f32", each) for each in wanted} | {("bf16", "index-coded"), ("f16", "gaussian")} <= cases


def test_rope_scaling_has_published_values_and_is_left_out_where_it_is_not_taken() -> None:
    names = [each.name for each in default.default(0, types=("F32",), rope_scaling=("yarn",))]
    assert "llama-f32-yarn" in names
    assert "llama-f32-llama3" not in names
    # config.json of Llama 3.1 8B and of Llama 3.2 1B
    for seed, factor in ((0, b'"factor": 8.0'), (1, b'"factor": 32.0')):
        (sample,) = (each for each in default.default(seed, types=("F32",)) if each.name == "llama-f32-llama3")
        config = sample.companions["config.json"]
        for said in (factor, b'"original_max_position_embeddings": 8192', b'"rope_theta": 500000', b": 131072"):
            assert said in config


def test_smoke_finds_the_tokenizers_that_are_taken(tmp_path: Path) -> None:
    script = tmp_path / "knows.py"
    script.write_text(
        "import json, shutil\n"
        "from pathlib import Path\n"
        "from rosetta_ref.gate.adapters.reference import convert as reference\n"
        "def convert(src, dst):\n"
        "    model = json.loads((Path(src) / 'tokenizer.json').read_text())['model']\n"
        "    if not model['byte_fallback'] and len(model['vocab']) < 1000:\n"
        "        raise NotImplementedError('the pre-tokenizer was not recognised')\n"
        "    reference(src, dst)\n"
    )
    entry = Entry("knows", function=f"{script}:convert", pairs=("S-G",), architectures=("llama",), types=("F32",))
    found = smoke(named.made(entry))
    assert {name for name, each in found.tokenizers.items() if each.works} == set(TAKEN)
    assert "was not recognised" in found.tokenizers["smollm"].reason
    assert found.pairs["S-G"].works
    assert found.rope_scaling["llama3"].works
