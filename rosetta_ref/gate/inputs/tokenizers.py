"""The tokenizers of the samples, as GGUF's keys and as the files of a Hugging Face directory.

Small vocabularies with all 256 bytes: byte-level BPE as GPT-2 has it (llama files of SmolLM, qwen2), and SentencePiece BPE with
scores (llama; gemma with other special tokens, and no space before a text). Both faces are written here, each by its format's own
rules, so that a converter can be asked whether the one becomes the other. Sources: tokenizer.json by the `tokenizers` library,
tokenizer.model by sentencepiece_model.proto, GGUF's keys by ggml/docs/gguf.md, pre-tokenizers and normalizers by the tokenizer.json
files of SmolLM2, Qwen2 and Gemma 3.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from rosetta_ref.archive import Kind, Value
from rosetta_ref.gate.converter.words import FULL
from rosetta_ref.gate.inputs import vocabularies
from rosetta_ref.gate.judge.tokenizer import QWEN2_PATTERN

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
#: Which of two merges comes first matters in "her" and "there"; "12" and "!a" tell pre-tokenizers apart, which may part them.
MERGES = ("h e", "i n", "Ġ t", "Ġt he", "e r", "o n", "r e", "Ġ a", "1 2", "! a")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPM_TEMPLATE = "{{ bos_token }}{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}"
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}{% endfor %}"
)
#: SentencePiece: pieces in the order of their merges, then single characters; a score is minus the place. "the" has two ways.
_PIECES = ("▁t", "he", "▁the", "th", "an", "in", "▁", "t", "h", "e", "a", "n", "i")
_SPM_SPECIAL = ("<unk>", "<s>", "</s>")
_GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
_GENERATION: tuple[str, ...] = ("bos_token_id", "eos_token_id")


def vocabulary(name: str) -> dict[str, Value]:
    """GGUF's keys of a vocabulary by its name: "spm", "gemma", a pre-tokenizer's, or a full one's."""
    if name in FULL:
        return full(name)
    return {"spm": sentencepiece, "gemma": gemma}[name]() if name in ("spm", "gemma") else byte_level(name)


def byte_level(pre: str) -> dict[str, Value]:
    """GGUF's keys of the byte-level vocabulary: special tokens first for "smollm", last for "qwen2", as in the real ones."""
    letters = sorted(_letters())
    plain = [*letters, *(merge.replace(" ", "") for merge in MERGES)]
    tokens = [*plain, *SPECIAL] if pre == "qwen2" else [*SPECIAL, *plain]
    types = [CONTROL if token in SPECIAL else NORMAL for token in tokens]
    return _text("tokenizer.ggml.model", "gpt2") | _text("tokenizer.ggml.pre", pre) | {
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, tokens),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, types),
        "tokenizer.ggml.merges": Value.array(Kind.STRING, MERGES),
        "tokenizer.ggml.bos_token_id": Value.scalar(Kind.U32, tokens.index(SPECIAL[1])),
        "tokenizer.ggml.eos_token_id": Value.scalar(Kind.U32, tokens.index(SPECIAL[2])),
        "tokenizer.ggml.padding_token_id": Value.scalar(Kind.U32, tokens.index(SPECIAL[0])),
        "tokenizer.ggml.add_bos_token": Value.scalar(Kind.BOOL, 0),
        **_text("tokenizer.chat_template", CHAT_TEMPLATE),
    }  # fmt: skip


def full(name: str) -> dict[str, Value]:
    """GGUF's keys of a full byte-level vocabulary. GPT-2 was published without a chat template."""
    read = vocabularies.full(name)
    types = [CONTROL if token in read.special else NORMAL for token in read.tokens]
    template = _text("tokenizer.chat_template", CHAT_TEMPLATE) if SPECIAL[1] in read.special else {}
    return _text("tokenizer.ggml.model", "gpt2") | _text("tokenizer.ggml.pre", read.pre) | {
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, read.tokens),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, types),
        "tokenizer.ggml.merges": Value.array(Kind.STRING, read.merges),
        **{f"tokenizer.ggml.{word}_token_id": Value.scalar(Kind.U32, number) for word, number in read.ids.items()},
        "tokenizer.ggml.add_bos_token": Value.scalar(Kind.BOOL, 0),
        **template,
    }  # fmt: skip


def sentencepiece() -> dict[str, Value]:
    """GGUF's keys of the SentencePiece vocabulary: scores, byte tokens, a BOS that is added."""
    tokens = [*_SPM_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *_PIECES]
    scores = [0.0] * (len(tokens) - len(_PIECES)) + [-float(place) for place in range(len(_PIECES))]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(_PIECES)
    return _text("tokenizer.ggml.model", "llama") | _text("tokenizer.ggml.pre", "default") | {
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, tokens),
        "tokenizer.ggml.scores": Value.array(Kind.F32, scores),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, types),
        "tokenizer.ggml.bos_token_id": Value.scalar(Kind.U32, 1),
        "tokenizer.ggml.eos_token_id": Value.scalar(Kind.U32, 2),
        "tokenizer.ggml.unknown_token_id": Value.scalar(Kind.U32, 0),
        "tokenizer.ggml.add_bos_token": Value.scalar(Kind.BOOL, 1),
        "tokenizer.ggml.add_eos_token": Value.scalar(Kind.BOOL, 0),
        **_text("tokenizer.chat_template", _SPM_TEMPLATE),
    }  # fmt: skip


def gemma() -> dict[str, Value]:
    """The same as Gemma has it: other special tokens, with a padding, and texts that begin with no space."""
    keys = sentencepiece()
    tokens, types = keys["tokenizer.ggml.tokens"].plain(), keys["tokenizer.ggml.token_type"].plain()
    own = len(_SPM_SPECIAL)
    ids = {"bos": 2, "eos": 1, "unknown": 3, "padding": 0}
    return keys | {
        "tokenizer.ggml.tokens": Value.array(Kind.STRING, [*_GEMMA_SPECIAL, *tokens[own:]]),
        "tokenizer.ggml.scores": Value.array(Kind.F32, [0.0, *keys["tokenizer.ggml.scores"].plain()]),
        "tokenizer.ggml.token_type": Value.array(Kind.I32, [CONTROL, CONTROL, CONTROL, UNKNOWN, *types[own:]]),
        **{f"tokenizer.ggml.{word}_token_id": Value.scalar(Kind.U32, place) for word, place in ids.items()},
        "tokenizer.ggml.add_space_prefix": Value.scalar(Kind.BOOL, 0),
        **_text("tokenizer.chat_template", _GEMMA_TEMPLATE),
    }  # fmt: skip


def _text(key: str, value: str) -> dict[str, Value]:
    return {key: Value.scalar(Kind.STRING, value)}


def _letters() -> list[str]:
    """The 256 letters that GPT-2 writes bytes as: printable Latin-1 as itself, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in printable] + [chr(0x100 + place) for place in range(256 - len(printable))]


def files(metadata: Mapping[str, Value], *, modern: bool = False) -> dict[str, bytes]:
    """The files of a tokenizer in a Hugging Face directory, from GGUF's keys of one of the two; none where there is none.

    `modern` is how they are written since 2025: merges as pairs, the chat template in a file of its own.
    """
    if "tokenizer.ggml.tokens" not in metadata:
        return {}
    plain = {key.rsplit(".", 1)[1]: value.plain() for key, value in metadata.items() if key.startswith("tokenizer.")}
    spm = plain["model"] == "llama"
    tokenizer = _sentencepiece_json(plain) if spm else _byte_level_json(plain)
    config, more = _config(plain, spm), {}
    if modern:
        tokenizer["model"]["merges"] = [merge.split(" ") for merge in tokenizer["model"]["merges"]]
        if "chat_template" in config:
            more["chat_template.jinja"] = config.pop("chat_template").encode()
    if spm:
        more["tokenizer.model"] = _model_proto(plain)
    return more | {
        "tokenizer.json": _json(tokenizer),
        "tokenizer_config.json": _json(config),
        "generation_config.json": _json({key: plain[key] for key in _GENERATION if key in plain}),
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _config(plain: Mapping[str, Any], spm: bool) -> dict[str, Any]:
    tokens = plain["tokens"]
    classes = {"qwen2": "Qwen2Tokenizer", "default": "LlamaTokenizer" if _prefixed(plain) else "GemmaTokenizer"}
    legacy = {"legacy": False} if _prefixed(plain) else {}
    named = {"bos": "bos_token_id", "eos": "eos_token_id", "pad": "padding_token_id", "unk": "unknown_token_id"}
    # Not beside a tokenizer.model, whose special tokens have scores and types of their own there: converters would have a choice.
    added = {str(token["id"]): _without_id(token) for token in _added(plain)}
    special = {f"{word}_token": tokens[plain[key]] for word, key in named.items() if key in plain}
    return {
        "tokenizer_class": classes.get(plain["pre"], "GPT2Tokenizer"),
        **special,
        "add_bos_token": plain["add_bos_token"],
        **({"add_eos_token": plain["add_eos_token"], **legacy} if spm else {"added_tokens_decoder": added}),
        **{key: plain[key] for key in ("chat_template",) if key in plain},
        "model_max_length": 128,
    }


def _prefixed(plain: Mapping[str, Any]) -> bool:
    """Whether a space comes before every text: what SentencePiece does unless it is told otherwise."""
    return bool(plain.get("add_space_prefix", True))


def _without_id(token: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in token.items() if key != "id"}


#: What is said of a token that stands outside of the vocabulary's merging.
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def _added(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs = enumerate(zip(plain["tokens"], plain["token_type"], strict=True))
    return [{"id": place, "content": token, **FLAGS} for place, (token, kind) in pairs if kind in (UNKNOWN, CONTROL)]


def _tokenizer(plain: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """tokenizer.json with every part that the library writes; `model` is completed by the vocabulary."""
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {token: place for place, token in enumerate(plain["tokens"])},
        **parts.pop("model"),
    }  # fmt: skip
    none = dict.fromkeys(("truncation", "padding"))
    return {"version": "1.0", **none, "added_tokens": _added(plain), **parts, "model": model}


def _byte_level_json(plain: Mapping[str, Any]) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    if plain["pre"] == "qwen2":
        split = {"type": "Split", "pattern": {"Regex": QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
        steps = [split, byte_level | {"use_regex": False}]
    else:
        steps = [{"type": "Digits", "individual_digits": True}, byte_level]
    together = {"type": "Sequence", "pretokenizers": steps}
    return _tokenizer(
        plain,
        normalizer={"type": "NFC"} if plain["pre"] == "qwen2" else None,
        pre_tokenizer=byte_level if plain["pre"] == "gpt-2" else together,
        post_processor=byte_level | {"trim_offsets": False},
        decoder=byte_level,
        model={"merges": plain["merges"]},
    )


def _sentencepiece_json(plain: Mapping[str, Any]) -> dict[str, Any]:
    """As transformers makes it of a tokenizer.model: a merge for each way to make a piece, the better ones first."""
    scores = dict(zip(plain["tokens"], plain["scores"], strict=True))
    pieces = [token for token, kind in zip(plain["tokens"], plain["token_type"], strict=True) if kind == NORMAL]
    splits = [
        (piece[:at], piece[at:])
        for piece in sorted(pieces, key=lambda piece: -scores[piece])
        for at in range(1, len(piece))
        if piece[:at] in scores and piece[at:] in scores
    ]
    bos = plain["tokens"][plain["bos_token_id"]]
    text, special = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": bos, "type_id": 0}}
    again = [{"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    known = {bos: {"id": bos, "ids": [plain["bos_token_id"]], "tokens": [bos]}}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    prefix = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]}
    alone = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    decoders = [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *([strip] if _prefixed(plain) else [])]
    return _tokenizer(
        plain,
        normalizer=prefix if _prefixed(plain) else spaces,
        pre_tokenizer=None if _prefixed(plain) else alone,
        post_processor={
            "type": "TemplateProcessing",
            "single": [special, text],
            "pair": [special, text, *again],
            "special_tokens": known,
        },
        decoder={"type": "Sequence", "decoders": decoders},
        model={
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "merges": [" ".join(split) for split in splits],
        },
    )


# tokenizer.model: ModelProto {1: SentencePiece {1: piece, 2: score, 3: type}, 2: TrainerSpec, 3: NormalizerSpec}


def _model_proto(plain: Mapping[str, Any]) -> bytes:
    rows = zip(plain["tokens"], plain["scores"], plain["token_type"], strict=True)
    pieces = [
        _message(1, _message(1, token.encode()) + b"\x15" + struct.pack("<f", score) + _varint_field(3, kind))
        for token, score, kind in rows
    ]
    # model_type BPE, vocab_size, byte_fallback, ids of unk, bos, eos, pad (-1: none)
    ids = (plain.get(f"{word}_token_id", -1) % 2**64 for word in ("unknown", "bos", "eos", "padding"))
    numbers = {3: 2, 4: len(plain["tokens"]), 35: 1, **dict(zip((40, 41, 42, 43), ids, strict=True))}
    trainer = b"".join(_varint_field(field, number) for field, number in numbers.items())
    # no normalisation; a dummy prefix or none, no spaces removed, spaces escaped
    flags = ((3, int(_prefixed(plain))), (4, 0), (5, 1))
    normalizer = _message(1, b"identity") + b"".join(_varint_field(*pair) for pair in flags)
    return b"".join(pieces) + _message(2, trainer) + _message(3, normalizer)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def _varint_field(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data
