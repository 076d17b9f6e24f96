"""Special tokens: their ids and texts, whether they are added around a text, and the chat template.

Where a key is absent, what llama.cpp assumes holds: BOS 1, EOS 2, unknown 0 and a BOS added for the llama model, BOS and EOS 11
for gpt2, where the pre-tokenizer decides whether a BOS is added.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import parts, templates, vocabulary
from rosetta_ref.architectures.tokenizer.around import Around, around
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
    found = templates.files(metadata, config)
    return {"tokenizer_config.json": vocabulary.to_json("tokenizer_config.json", config, indent=2), **found}


def keys(files: Mapping[str, bytes], tokenizer: Json, vocab_size: int, notes: list[str]) -> dict[str, Value]:
    """The GGUF keys of special tokens: ids, what is added around a text, chat template, in convert_hf_to_gguf's order.

    Where each is looked for, and in which order, is in `rosetta_ref.places`. Notes name what GGUF has no place for.
    """
    config = parts.from_json(files, parts.CONFIG)
    model = parts.from_json(files, "config.json")
    adds = around(tokenizer)
    ids = _ids(files, tokenizer, config, adds, vocab_size, notes)
    out = {f"tokenizer.ggml.{key}": Value.scalar(Kind.U32, index) for key, index in ids.items()}
    flags = _flags(tokenizer, adds, config, ids, notes)
    if vocab_size == _GRANITE_VOCABULARY and model.get("model_type") in ("llama", "mistral"):
        flags.setdefault("bos", False)  # convert_hf_to_gguf's rule for small granite models; SmolLM2 has the same size
    out |= {f"tokenizer.ggml.{ADD_KEYS[n]}": Value.scalar(Kind.BOOL, flag) for n, flag in flags.items()}
    return out | templates.keys(files, config, notes)


def _ids(
    files: Mapping[str, bytes], tokenizer: Json, config: Json, adds: Around, vocab_size: int, notes: list[str]
) -> dict[str, int]:
    """The ids by GGUF's keys. What the tokenizer adds counts before what config.json says: llama.cpp adds the token of that id."""
    named = {name: [index] for name, index in _ids_by_text(_texts(files, config, tokenizer), tokenizer).items()}
    replaced: list[int] = []
    if adds.front:
        named.setdefault("bos", [adds.front[0][1]])
    if adds.back:  # what ended answers before is GGUF's end of a turn, as gguf-py has it (gguf/vocab.py, SpecialVocab)
        replaced = [index for index in named.get("eos", []) if index != adds.back[-1][1]]
        named["eos"] = [adds.back[-1][1]]
    sources = [named]
    for file in ("config.json", "generation_config.json"):
        stated = _stated(parts.from_json(files, file))
        sources.append({name: _ids_in(file, stated, name) for name in ID_KEYS})
    out: dict[str, int] = {}
    ends = {"eot": [index for index in replaced if index < vocab_size]}
    for source in sources:
        for name, several in source.items():
            inside = [index for index in several if 0 <= index < vocab_size]
            if inside:
                out.setdefault(ID_KEYS[name], inside[0])
            ends[name] = ends.get(name, []) + inside
    for index in ends["eot"]:
        out["eot_token_id"] = index
    _note_ends(ends.get("eos", []), {out.get("eos_token_id"), *ends["eot"]}, tokenizer, notes)
    return out


def _note_ends(ends: list[int], said: set[int | None], tokenizer: Json, notes: list[str]) -> None:
    """Note the ends of answers that GGUF does not name and that llama.cpp does not know by their texts."""
    known = {index for text, index in _known(tokenizer).items() if text in vocabulary.ENDS}
    lost = [index for index in dict.fromkeys(ends) if index not in said | known]
    if lost:
        notes.append(f"answers end at the tokens {shown(lost)} too, and GGUF has no place for them")


def _stated(model: Json) -> Json:
    """What a configuration says, where it says nothing that of its text model."""
    inner = model.get("text_config")
    return (
        {**inner, **{key: value for key, value in model.items() if value is not None}}
        if isinstance(inner, dict)
        else model
    )


def _ids_in(file: str, model: Json, name: str) -> list[int]:
    """The ids of a special token in a configuration. Raises ConfigTokenIdError."""
    key = f"{name}_token_id"
    value = model.get(key)
    several = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(index) is int for index in several):
        raise ConfigTokenIdError(f"{key} is {shown(value)}", file=file)
    return several


def _texts(files: Mapping[str, bytes], config: Json, tokenizer: Json) -> dict[str, str]:
    """The special tokens by their texts; special_tokens_map.json counts where there is no added_tokens_decoder."""
    said = {} if "added_tokens_decoder" in config else parts.from_json(files, "special_tokens_map.json")
    padding = parts.table(tokenizer.get("padding"), "padding").get("pad_token")
    out = {"pad": padding} if isinstance(padding, str) else {}
    for source in (config, said):
        for name in ID_KEYS:
            entry = source.get(f"{name}_token")
            text = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(text, str):
                out[name] = text
    return out


def _known(tokenizer: Json) -> dict[str, int]:
    """The ids of tokens by their texts: of the added ones first."""
    vocab = parts.vocabulary_of(tokenizer["model"]) if "model" in tokenizer else {}
    return vocab | {text: index for text, index, _ in reversed(parts.added_tokens(tokenizer))}


def _ids_by_text(texts: Mapping[str, str], tokenizer: Json) -> dict[str, int]:
    known = _known(tokenizer)
    return {name: known[texts[name]] for name in ID_KEYS if texts.get(name) in known}


def _flags(tokenizer: Json, adds: Around, config: Json, ids: Mapping[str, int], notes: list[str]) -> dict[str, bool]:
    """Whether BOS and EOS are added. Without a tokenizer.json, tokenizer_config.json says so; with one, nothing but that does."""
    flags: dict[str, bool] = {}
    for name, tokens in (("bos", adds.front), ("eos", adds.back)):
        if not tokens:
            continue
        place = tokens[0] if name == "bos" else tokens[-1]
        flags[name] = ids.get(ID_KEYS[name]) == place[1]
        lost = [text for text, index in tokens if not flags[name] or index != place[1]] or [place[0]] * (
            len(tokens) - 1
        )
        if lost:
            notes.append(f"tokenizer.json adds {shown(lost)} to a text, and GGUF adds the one {name.upper()} alone")
    stated = {name: config[key] for name, key in ADD_KEYS.items() if isinstance(config.get(key), bool)}
    if tokenizer:
        stated |= {name: flags.get(name, False) for name in stated if name != "sep"}
    if adds.separates:
        stated.setdefault("sep", True)
    return flags | stated
