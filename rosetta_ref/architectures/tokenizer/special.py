"""Special tokens: their ids and texts, whether they are added around a text, and the chat template.

Where a key is absent, what llama.cpp assumes holds: BOS 1, EOS 2, unknown 0 and a BOS added for the llama model, BOS and EOS 11
for gpt2, where the pre-tokenizer decides whether a BOS is added.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import parts, vocabulary
from rosetta_ref.architectures.tokenizer.vocabulary import Json, Vocabulary
from rosetta_ref.archive import Kind, Value
from rosetta_ref.errors import RosettaError


class ConfigTokenIdError(RosettaError):
    """The id of a special token in config.json is a whole number, null, or a list of whole numbers."""


#: Hugging Face's name of a special token -> GGUF's key ("seperator" is how GGUF spells it).
ID_KEYS = {
    "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "sep": "seperator_token_id",
    "pad": "padding_token_id", "cls": "cls_token_id", "mask": "mask_token_id",
}  # fmt: skip
#: Those that can be added around a text, each with its GGUF key, which is also Hugging Face's.
ADD_KEYS = {name: f"add_{name}_token" for name in ("bos", "eos", "sep")}
_DEFAULT_IDS = {"llama": {"bos": 1, "eos": 2, "unk": 0}, "gpt2": {"bos": 11, "eos": 11}}
_TEMPLATE, _TEMPLATES = "tokenizer.chat_template", "tokenizer.chat_templates"
_GRANITE_VOCABULARY = 49152


def post_processor(metadata: Mapping[str, Value], vocab: Vocabulary, *, add_bos: bool) -> Json | None:
    """The `post_processor` of tokenizer.json that adds BOS and EOS; `add_bos` is the default where no key says it."""
    model = vocabulary.model_of(metadata)
    front = _added(metadata, vocab, model, "bos", default=add_bos)
    back = _added(metadata, vocab, model, "eos", default=False)
    if not front and not back:
        return None
    first = [*_specials(front, 0), _sequence("A", 0), *_specials(back, 0)]
    second = [*_specials(front, 1), _sequence("B", 1), *_specials(back, 1)]
    known = {token: {"id": token, "ids": [index], "tokens": [token]} for token, index in front + back}
    return {"type": "TemplateProcessing", "single": first, "pair": first + second, "special_tokens": known}


def _added(
    metadata: Mapping[str, Value], vocab: Vocabulary, model: str, name: str, *, default: bool
) -> list[tuple[str, int]]:
    wanted = vocabulary.flag(metadata, ADD_KEYS[name])
    if not (default if wanted is None else wanted):
        return []
    index = vocabulary.token_id(metadata, ID_KEYS[name])
    index = _DEFAULT_IDS[model][name] if index is None else index
    return [(vocab.text(index), index)]


def _specials(tokens: list[tuple[str, int]], type_id: int) -> list[Json]:
    return [{"SpecialToken": {"id": token, "type_id": type_id}} for token, _ in tokens]


def _sequence(name: str, type_id: int) -> Json:
    return {"Sequence": {"id": name, "type_id": type_id}}


def config_files(metadata: Mapping[str, Value], vocab: Vocabulary) -> dict[str, bytes]:
    """tokenizer_config.json, and chat_template.jinja where there is a template."""
    config: Json = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, key in ID_KEYS.items():
        index = vocabulary.token_id(metadata, key)
        if index is not None:
            config[f"{name}_token"] = vocab.text(index)
    for key in (*ADD_KEYS.values(), "add_space_prefix"):
        flag = vocabulary.flag(metadata, key)
        if flag is not None:
            config["add_prefix_space" if key == "add_space_prefix" else key] = flag
    added = vocab.added
    config["added_tokens_decoder"] = {str(e["id"]): {k: v for k, v in e.items() if k != "id"} for e in added}
    template, named = vocabulary.text(metadata, _TEMPLATE), vocabulary.texts(metadata, _TEMPLATES)
    files = {}
    if named is not None:
        config["chat_template"] = _named_templates(metadata, named)
    elif template is not None:
        files["chat_template.jinja"] = template.encode("utf-8", "surrogateescape")
    return {"tokenizer_config.json": vocabulary.to_json("tokenizer_config.json", config, indent=2), **files}


def _named_templates(metadata: Mapping[str, Value], names: list[str]) -> list[Json]:
    keys = {"default": _TEMPLATE, **{name: f"{_TEMPLATE}.{name}" for name in names}}
    found = {name: vocabulary.text(metadata, key) for name, key in keys.items()}
    return [{"name": name, "template": template} for name, template in found.items() if template is not None]


def keys(files: Mapping[str, bytes], tokenizer: Json, vocab_size: int) -> dict[str, Value]:
    """The GGUF keys of special tokens: ids, what is added around a text, chat template, in convert_hf_to_gguf's order."""
    config = parts.from_json(files, "tokenizer_config.json")
    model = parts.from_json(files, "config.json")
    inner = model.get("text_config")  # asked second, as gguf-py does (vocab.py)
    told = {n: _id_in(model, inner, f"{n}_token_id") for n in ID_KEYS}
    out: dict[str, Value] = {}
    for source in (_ids_by_text(config, tokenizer), told):
        for name, index in source.items():
            if index is not None and 0 <= index < vocab_size:
                out.setdefault(f"tokenizer.ggml.{ID_KEYS[name]}", Value.scalar(Kind.U32, index))
    ids = {n: out[f"tokenizer.ggml.{k}"].plain() for n, k in ID_KEYS.items() if f"tokenizer.ggml.{k}" in out}
    flags = _flags(tokenizer, ids)
    flags |= {n: config[key] for n, key in ADD_KEYS.items() if isinstance(config.get(key), bool)}
    if vocab_size == _GRANITE_VOCABULARY and model.get("model_type") in ("llama", "mistral"):
        flags["bos"] = False  # convert_hf_to_gguf's rule for the small granite models; SmolLM2 has the same size
    out |= {f"tokenizer.ggml.{ADD_KEYS[n]}": Value.scalar(Kind.BOOL, flag) for n, flag in flags.items()}
    return out | _templates(files, config)


def _id_in(model: Json, inner: object, key: str) -> int | None:
    """An id in config.json, or in the text model inside; None where there are several, which GGUF has no place for."""
    value = model.get(key)
    if value is None and isinstance(inner, dict):
        value = inner.get(key)
    if any(type(index) is not int for index in (value if isinstance(value, list) else [value]) if value is not None):
        raise ConfigTokenIdError(f"{key} is {shown(value)}", file="config.json")
    return value if isinstance(value, int) else None


def _ids_by_text(config: Json, tokenizer: Json) -> dict[str, int | None]:
    by_text = {text: index for text, index, _ in reversed(parts.added_tokens(tokenizer))}
    out: dict[str, int | None] = {}
    for name in ID_KEYS:
        entry = config.get(f"{name}_token")
        text = entry.get("content") if isinstance(entry, dict) else entry
        if isinstance(text, str):
            out[name] = by_text.get(text)
    return out


def _flags(tokenizer: Json, ids: Mapping[str, int]) -> dict[str, bool]:
    """What the template of tokenizer.json puts before and after a text."""
    flags: dict[str, bool] = {}
    for step in parts.steps(tokenizer.get("post_processor"), "post_processor", "processors"):
        if step.get("type") != "TemplateProcessing":
            continue
        single = parts.tables(step.get("single"), "post_processor.single")
        known = parts.table(step.get("special_tokens"), "post_processor.special_tokens")
        for name, item in (("bos", single[0]), ("eos", single[-1])) if len(single) > 1 else ():
            place = parts.table(item.get("SpecialToken"), "post_processor.single.SpecialToken")
            if place.get("id") is not None:
                text = parts.text(place["id"], "post_processor.single.SpecialToken.id")
                entry = parts.table(known.get(text), "post_processor.special_tokens")
                flags[name] = ids.get(name) in parts.array(entry.get("ids"), "post_processor.special_tokens.ids")
    return flags


def _templates(files: Mapping[str, bytes], config: Json) -> dict[str, Value]:
    file, template = parts.CONFIG, config.get("chat_template")
    if template is None and "chat_template.jinja" in files:
        template = files["chat_template.jinja"].decode("utf-8", "surrogateescape")
    elif template is None:
        file = "chat_template.json"
        template = parts.from_json(files, file).get("chat_template")
    if isinstance(template, str):
        return {_TEMPLATE: Value.scalar(Kind.STRING, template)}
    named = {
        parts.text(entry.get("name"), "chat_template.name", file): parts.text(
            entry.get("template"), "chat_template.template", file
        )
        for entry in parts.tables(template, "chat_template", file)
    }
    others = [name for name in named if name != "default"]
    out = {f"{_TEMPLATE}.{name}": Value.scalar(Kind.STRING, named[name]) for name in others}
    if others:
        out[_TEMPLATES] = Value.array(Kind.STRING, others)
    if "default" in named:
        out[_TEMPLATE] = Value.scalar(Kind.STRING, named["default"])
    return out
