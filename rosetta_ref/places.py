"""Where each fact about a model of Hugging Face is looked for, and in which order: a table for all that read such directories.

The converter (`architectures/tokenizer`, `architectures/config`), `verify` (`inference/text`, `inference/model`,
`inference/windows`) and the judge of the gate each read by it, in code of their own. Read in transformers 5.24.0, llama.cpp and
gguf-py of llama-cpp-python 0.3.36. `python -m rosetta_ref.places > docs/places.md` prints the document.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

_BASE, _FAST, _MODEL = "tokenization_utils_base.py", "tokenization_utils_tokenizers.py", "modeling_utils.py"
_VOCAB, _GGUF_PY, _LLAMA = "src/llama-vocab.cpp", "gguf/vocab.py", "src/llama-model.cpp"


@dataclass(frozen=True)
class Place:
    """A fact; where transformers looks, the first place that says it counts; what llama.cpp does with the key; and the sources."""

    fact: str
    transformers: tuple[str, ...]
    llamacpp: str
    source: str


PLACES = (
    Place(
        "whether BOS and EOS are added",
        (
            "tokenizer.json `post_processor` (TemplateProcessing, BertProcessing, RobertaProcessing, alone or in a Sequence)",
            "without a tokenizer.json: tokenizer_config.json `add_bos_token`, `add_eos_token`",
        ),
        "`tokenizer.ggml.add_bos_token`; else what `tokenizer.ggml.pre` or the model implies",
        f"{_BASE} `_from_pretrained` (takes both flags away); {_VOCAB}",
    ),
    Place(
        "the text of a special token",
        (
            "special_tokens_map.json, where tokenizer_config.json has no `added_tokens_decoder`",
            "tokenizer_config.json `bos_token`, `eos_token` ..., a text or an object with `content`",
            "for padding: tokenizer.json `padding.pad_token`",
        ),
        "no place: ids alone",
        f"{_BASE} `_from_pretrained`; {_FAST} `__init__`",
    ),
    Place(
        "the id of a special token",
        (
            "tokenizer.json `added_tokens`, by that text", "tokenizer.json `model.vocab`, by that text",
            "for BOS and EOS: what the `post_processor` adds", "config.json `bos_token_id` ..., then its `text_config`",
            "generation_config.json",
        ),
        "`tokenizer.ggml.bos_token_id` ...; an id beyond the vocabulary is warned of and taken as absent",
        f"{_GGUF_PY} `SpecialVocab`; {_VOCAB} (bad special token)",
    ),
    Place(
        "the tokens that end an answer",
        (
            "generation_config.json `eos_token_id`, one or a list",
            "config.json `eos_token_id`, one or a list",
            "the text of `eos_token`",
        ),
        "`eos_token_id`, `eot_token_id`, `eom_token_id`, and tokens that it knows by their texts",
        f"generation/configuration_utils.py; {_VOCAB} (special_eog_ids)",
    ),
    Place(
        "chat templates",
        (
            "chat_template.jinja with additional_chat_templates/NAME.jinja: either takes the place of all others",
            "tokenizer_config.json `chat_template`: a text, a list of names and templates, or an object",
            "chat_template.json (of a processor)",
        ),
        "`tokenizer.chat_template`; `tokenizer.chat_template.NAME` for those that `tokenizer.chat_templates` names",
        f"{_BASE} `_from_pretrained`, `save_chat_templates`; {_GGUF_PY}",
    ),
    Place(
        "whether the head is the embedding",
        (
            "both matrices stored with different values: not", "config.json `tie_word_embeddings`",
            "the configuration class: true for Gemma 3, false for Llama, Mistral, Qwen 2 and Qwen 3",
        ),
        "`output.weight` where it is there, else the embedding",
        f"{_MODEL} `tie_weights` (one matrix alone is both); src/models/*.cpp",
    ),
    Place(
        "the window of attention",
        (
            "Mistral: `sliding_window` (4096 in silence), in all layers", "Llama: none, whatever config.json says",
            "Qwen 2, Qwen 3: `sliding_window` where `use_sliding_window` is true, in the layers of `layer_types`, else from "
            "`max_window_layers` (28) on",
            "Gemma 3: `sliding_window` (4096) in the layers of `layer_types`, else in all but each sixth one",
        ),
        "`attention.sliding_window` for Gemma 3; elsewhere a window below the context is refused",
        "models/*/configuration_*.py, modeling_*.py; src/models/*.cpp",
    ),
    Place(
        "whether there are biases",
        (
            "Llama: `attention_bias` (q, k, v, o), `mlp_bias` (gate, up, down), false in silence",
            "Qwen 3, Gemma 3: `attention_bias`, false in silence", "Mistral: none", "Qwen 2: q, k and v always",
        ),
        "llama: those that are in the file; biases that transformers does not read are refused",
        "models/*/modeling_*.py; src/models/*.cpp",
    ),
    Place(
        "the size of heads, their number, the base of rope, the scale of scores, the activation",
        ("config.json, then the configuration class; a record of each architecture has them (`architectures/models`)",),
        "a key, or a constant of the loader: config.json that says another activation or scale is refused",
        "models/*/configuration_*.py; src/models/*.cpp",
    ),
    Place(
        "numbers with an entry for each layer",
        ("no place: one number in config.json",),
        "`feed_forward_length`, `attention.head_count`, `attention.head_count_kv`: a number, or one for each layer; those that "
        "differ are refused",
        f"{_LLAMA} `load_hparams`",
    ),
)  # fmt: skip


def document() -> str:
    """`docs/places.md`: the table with its heading."""
    how = "Generated by `python -m rosetta_ref.places > docs/places.md`. The first place that says a fact counts."
    lines = [
        f"# Where facts are looked for\n\n{how}\n",
        "| fact | transformers 5 | llama.cpp | sources |",
        "|---|---|---|---|",
    ]
    for place in PLACES:
        order = "<br>".join(f"{number}. {one}" for number, one in enumerate(place.transformers, 1))
        lines.append(f"| {place.fact} | {order} | {place.llamacpp} | {place.source} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
