r"""Pre-tokenizers: how a text is cut into words before merging. All of it is the tables below.

GGUF names a pre-tokenizer (`tokenizer.ggml.pre`), and the name stands for a list of patterns in llama.cpp: each cuts every piece
that the ones before it left, and both the matches and what lies between them stay as pieces. tokenizer.json spells the same
out, as a sequence of `Split`s in mode `Isolated`, often with `Digits`, `Punctuation` and `ByteLevel` in their place.

The patterns are those of llama.cpp where it deviates from the original tokenizer.json, because its ids are the standard here:
`'[sS]` instead of `(?i:'s)` (which takes U+017F, the long s, for an s) and, for tekken and gpt-4o, case judged for ASCII only.
The originals are known too, so that they are recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rosetta_ref.architectures.checked import shown
from rosetta_ref.architectures.tokenizer import parts
from rosetta_ref.errors import RosettaError

Json = dict[str, Any]


class UnknownPreTokenizerError(RosettaError):
    """A pre-tokenizer must be one that both llama.cpp and tokenizer.json can express, or texts would be cut differently."""


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_DIGIT, _UP_TO_THREE = r"\p{N}", r"\p{N}{1,3}"
_ANY_CASE = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_FOLDED = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_MARKED_WORDS = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CJK = "[一-龥ࠀ-一가-퟿]+"
#: Letters with case, as code points: an editor that normalises Unicode would join some of them.
_CASED_LETTERS = (
    "B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 "
    "3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 "
    "1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC "
    "1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 "
    "2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 "
    "2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 "
    "FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"
)
_LATIN_ETC = (
    r"\s?[A-Za-z"
    + "".join("-".join(chr(int(x, 16)) for x in span.split("-")) for span in _CASED_LETTERS.split())
    + "]+"
)
_UPPER, _LOWER = r"((?=[\p{L}])([^a-z]))", r"((?=[\p{L}])([^A-Z]))"
_REST = r"|%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER_ANY, _LOWER_ANY = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(upper: str, lower: str, suffix: str, digits: str) -> str:
    first = r"[^\r\n\p{L}\p{N}]?"
    return f"{first}{upper}*{lower}+{suffix}|{first}{upper}+{lower}*{suffix}{_REST % digits}"


#: Family -> the patterns, in the order they are applied.
PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt2": (_GPT2,),
    "digits": (_DIGIT, _GPT2),
    "llama3": (f"{_ANY_CASE}|{_WORDS % _UP_TO_THREE}",),
    "qwen2": (f"{_ANY_CASE}|{_WORDS % _DIGIT}",),
    "qwen35": (f"{_ANY_CASE}|{_MARKED_WORDS}",),
    "tekken": (_cased(_UPPER, _LOWER, "", _DIGIT),),
    "gpt4o": (_cased(_UPPER, _LOWER, _ANY_CASE + "?", _UP_TO_THREE),),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]"),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "deepseek-llm": ("[\r\n]", _LATIN_ETC, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _CJK, r"\p{N}+"),
    "deepseek-coder": ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, _DIGIT),
}


@dataclass(frozen=True)
class PreTokenizer:
    """What a name stands for: its patterns, and the defaults that llama.cpp ties to it."""

    family: str
    ignore_merges: bool = False
    add_bos: bool = False


_LLAMA3 = PreTokenizer("llama3", ignore_merges=True, add_bos=True)

#: `tokenizer.ggml.pre` -> what it stands for. The first name of each distinct meaning is the one that is written.
NAMES: dict[str, PreTokenizer] = {
    "gpt-2": PreTokenizer("gpt2"),
    "smollm": PreTokenizer("digits"),
    "qwen2": PreTokenizer("qwen2"),
    "qwen35": PreTokenizer("qwen35"),
    "llama-bpe": _LLAMA3,
    "smaug-bpe": PreTokenizer("llama3"),
    "glm4": PreTokenizer("llama3", ignore_merges=True),
    "tekken": PreTokenizer("tekken", ignore_merges=True, add_bos=True),
    "gpt-4o": PreTokenizer("gpt4o"),
    "falcon": PreTokenizer("falcon"),
    "default": PreTokenizer("default"),
    "deepseek-llm": PreTokenizer("deepseek-llm"),
    "deepseek-coder": PreTokenizer("deepseek-coder"),
    **dict.fromkeys(("phi-2", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling"), PreTokenizer("gpt2")),
    **dict.fromkeys(("gigachat", "a.x-4.0", "mellum", "modern-bert"), PreTokenizer("gpt2")),
    **dict.fromkeys(("starcoder", "refact", "command-r", "codeshell", "exaone"), PreTokenizer("digits")),
    **dict.fromkeys(("minerva-7b", "mellum2"), PreTokenizer("digits")),
    **dict.fromkeys(("stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan"), PreTokenizer("qwen2")),
    **dict.fromkeys(("solar-open", "grok-2", "kormo"), PreTokenizer("qwen2")),
    **dict.fromkeys(("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), _LLAMA3),
    **dict.fromkeys(("dbrx", "chatglm-bpe"), PreTokenizer("llama3")),
    "glm5": PreTokenizer("llama3", ignore_merges=True),
    **dict.fromkeys(("llama4", "kanana2", "minimax-m2"), PreTokenizer("gpt4o")),
}  # fmt: skip

#: How original tokenizer.json files spell a family, beside its own patterns.
_SPELLINGS: dict[tuple[str, ...], str] = {
    (_cased(_UPPER_ANY, _LOWER_ANY, "", _DIGIT),): "tekken",
    (_cased(_UPPER_ANY, _LOWER_ANY, _ANY_CASE + "?", _UP_TO_THREE),): "gpt4o",
    ("punctuation", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"): "falcon",
    ("punctuation", _GPT2, "[0-9][0-9][0-9]"): "falcon",
}
_FAMILIES = {**{patterns: family for family, patterns in PATTERNS.items()}, **_SPELLINGS}


def lookup(name: str) -> PreTokenizer:
    """What a `tokenizer.ggml.pre` stands for. Raises UnknownPreTokenizerError."""
    if name in NAMES:
        return NAMES[name]
    raise UnknownPreTokenizerError(
        f"tokenizer.ggml.pre is {name!r}",
        hint="Add its patterns to the table, or convert to a format that carries the key (APR), where nothing is interpreted.",
    )


def to_json(family: str) -> Json:
    """The `pre_tokenizer` of tokenizer.json, in the spelling that original files use where there is one."""
    *splits, last = PATTERNS[family]
    whole = last == _GPT2
    steps = [_step(pattern) for pattern in (splits if whole else PATTERNS[family])]
    steps.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": whole})
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def _step(pattern: str) -> Json:
    if pattern == _DIGIT:
        return {"type": "Digits", "individual_digits": True}
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def recognise(pre_tokenizer: Json | None, *, ignore_merges: bool, add_bos: bool) -> str:
    """The name for a `pre_tokenizer` of tokenizer.json. Raises UnknownPreTokenizerError.

    Names that share patterns are told apart by `ignore_merges`, which changes ids, and by whether a BOS is added.
    """
    patterns = tuple(_patterns(pre_tokenizer))
    family = _FAMILIES.get(patterns)
    fits = [name for name, known in NAMES.items() if (known.family, known.ignore_merges) == (family, ignore_merges)]
    if not fits:
        raise UnknownPreTokenizerError(
            f"tokenizer.json cuts texts by {shown(list(patterns))}, ignore_merges {ignore_merges}",
            file="tokenizer.json",
            hint="Add the patterns to the table of pre-tokenizers if llama.cpp has them, or convert with --keep-names.",
        )
    return next((name for name in fits if NAMES[name].add_bos == add_bos), fits[0])


def _patterns(step: Json | None) -> list[str]:
    kind = (step or {}).get("type")
    if step is None or kind is None:
        return []
    if kind == "Sequence":
        return [
            pattern
            for inner in parts.tables(step.get("pretokenizers"), "pre_tokenizer.pretokenizers")
            for pattern in _patterns(inner)
        ]
    if kind == "ByteLevel" and not step.get("add_prefix_space", True):
        return [_GPT2] if step.get("use_regex", True) else []
    if kind == "Digits":
        return [_DIGIT if step.get("individual_digits") else r"\p{N}+"]
    if kind == "Punctuation" and step.get("behavior") == "Contiguous":
        return ["punctuation"]
    if kind == "Split" and (step.get("behavior"), bool(step.get("invert"))) in (("Isolated", False), ("Removed", True)):
        return [_spelt(parts.table(step.get("pattern"), "pre_tokenizer.pattern"))]
    return [f"<{shown(kind)} {shown({key: value for key, value in step.items() if key != 'type'})}>"]


def _spelt(pattern: Json) -> str:
    said = parts.text(pattern.get("Regex", pattern.get("String", "")), "pre_tokenizer.pattern")
    text = said.replace(_FOLDED, _ANY_CASE)
    return _GPT2 if text == _GPT2 + r"|\s+" else text
