"""Where a Hugging Face directory says a fact of its tokenizer, and in which order loaders look there.

- A special token: tokenizer_config.json and special_tokens_map.json by text, then generation_config.json and config.json by id
  (transformers 5.24, tokenization_utils_base.py; gguf-py, `SpecialVocab`).
- The end of an answer: the same. A list means each of them, and the first stands for all (`GenerationConfig`).
- The chat template: chat_template.jinja, then tokenizer_config.json; of named ones, the one called default. Others:
  additional_chat_templates/NAME.jinja, or the list in tokenizer_config.json (transformers 5.24, `_from_pretrained`).
- Whether a BOS is added: the post_processor of tokenizer.json.
- Kinds of tokens: added_tokens of tokenizer.json, special or not (llama.cpp, `get_vocab_base` of conversion/base.py).

Where places disagree, each value that one of them gives first is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rosetta_ref.gate.judge.view import View, read_json, read_text

#: Fact, the word in `{word}_token` and `{word}_token_id`.
SPECIAL = {"bos": "bos", "eos": "eos", "padding": "pad"}
_BY_TEXT, _BY_ID = ("tokenizer_config.json", "special_tokens_map.json"), ("generation_config.json", "config.json")
#: Named templates that are read, at most: a folder of a stranger may have any number.
_TEMPLATES = 100
DEFAULT, TOOLS = "default", "additional_chat_templates"


class OneOf(list[Any]):
    """Values each of which is right, the best first: places of a directory that disagree."""


def special_ids(view: View, tokens: Sequence[Any]) -> dict[str, Any]:
    """The ids of special tokens, each as `OneOf` the values that places give. Raises UnreadableError."""
    by_text, by_id = ([read_json(view.path, name) or {} for name in names] for names in (_BY_TEXT, _BY_ID))
    places = {token: place for place, token in reversed([*enumerate(tokens)]) if isinstance(token, str)}
    found: dict[str, Any] = {}
    if "added_tokens_decoder" not in by_text[0]:  # else special_tokens_map.json is not read
        by_text.reverse()
    for fact, word in SPECIAL.items():
        named = (_text(stated.get(f"{word}_token")) for stated in by_text)
        text = next((places[one] for one in named if one in places), None)
        numbered = (stated.get(f"{word}_token_id") for stated in by_id)
        right = [text]
        for one in numbered:
            several = one if isinstance(one, list) else [one]
            right += [] if text in several else several[:1]
        found[fact] = OneOf(dict.fromkeys(one for one in right if type(one) is int)) or None
    return found


def templates(view: View) -> dict[str, str]:
    """Chat templates by name, that of no name as "default". Raises UnreadableError."""
    stated = (read_json(view.path, "tokenizer_config.json") or {}).get("chat_template")
    found: dict[str, str] = {DEFAULT: stated} if isinstance(stated, str) else {}
    for one in stated if isinstance(stated, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("template"), str):
            found[one["name"]] = one["template"]
    own = read_text(view.path, "chat_template.jinja")
    folder = (view.path if view.path.is_dir() else view.path.parent) / TOOLS
    files = sorted(folder.glob("*.jinja"))[:_TEMPLATES] if folder.is_dir() else []
    if own is not None or files:  # either takes the place of all others
        found = {} if own is None else {DEFAULT: own}
    for file in files:
        found[file.stem] = read_text(folder, file.name) or ""
    return found


def adds_bos(tokenizer: Mapping[str, Any]) -> bool:
    """Whether texts begin with a special token, by the post_processor."""
    whole = tokenizer.get("post_processor")
    inner = whole.get("processors") if isinstance(whole, dict) else None
    for step in [whole, *(inner if isinstance(inner, list) else ())]:
        single = step.get("single") if isinstance(step, dict) else None
        if isinstance(single, list) and single and isinstance(single[0], dict) and "SpecialToken" in single[0]:
            return True
        if isinstance(step, dict) and step.get("type") in ("RobertaProcessing", "BertProcessing"):
            return True
    return False


def added(tokenizer: Mapping[str, Any]) -> dict[int, tuple[str, bool]]:
    """Tokens that stand outside of the vocabulary's merging, by id: the text, and whether they are special."""
    rows = tokenizer.get("added_tokens")
    good = (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return {
        row["id"]: (row["content"], row.get("special") is True)
        for row in good
        if type(row.get("id")) is int and isinstance(row.get("content"), str)
    }


def _text(value: Any) -> str | None:
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None
