"""tokenizer.json as made here, loaded by the `tokenizers` library, against llama.cpp on the same vocabulary: the same ids."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from rosetta_ref.architectures import tokenizer
from rosetta_ref.architectures.tokenizer import pretokenizers
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.formats import gguf
from tests.support import llama, smollm, vocab
from tests.support.nightly import part

GOLDEN = Path(__file__).parents[2] / "fixtures" / "golden" / "convert-hf" / "llama-smollm-tied" / "auto.gguf"
NAMES_OF = pretokenizers.NAMES
#: SmolLM2 is the real model; the others are llama.cpp's vocabulary files.
NAMES = ("smollm2", "llama-bpe", "llama-spm", "qwen2", "gpt-2")
MORE = ("command-r", "deepseek-coder", "deepseek-llm", "falcon", "mpt", "phi-3", "qwen35", "refact", "starcoder",
        "gpt-neox", "aquila", "baichuan")  # fmt: skip
PUBLISHED = ("llama-bpe", "llama-spm", "qwen2", "gpt-2")
PUBLISHED_TOO = MORE[:9]

CODE = """def f(x: int) -> list[str]:
    \"\"\"Doc.\"\"\"
    return [f"{i:>08x}" for i in range(x) if i % 3 != 0]  # comment

for (size_t i = 0; i < n; ++i) { a[i] += b[i] * 0x1Fu; /* c */ }
#include <stdio.h>\\nint main(void){printf("%d\\\\n",42);return 0;}
SELECT * FROM t WHERE a>=1 AND b<>'it''s';
<div class="x" data-y='z'>&nbsp;&amp;</div>
{"k": [1, 2.5e-10, null, true], "ü": "\\u00e9"}
	if err != nil {
		return fmt.Errorf("x: %w", err)
	}
const f = async (a, b) => `${a}${b ?? '∅'}`;
fn main() -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
#!/bin/bash\\nset -euo pipefail; echo "${HOME:-/root}" | tr a-z A-Z > /dev/null 2>&1
x = λ y → y ⊕ ∀z∈ℝ: z² ≥ 0
A.B.C_D-E/F\\\\G|H~I`J^K@L#M$N%O&P*Q(R)S+T=U[V]W{X}Y;Z:
"""
SCRIPTS = """Hello, World! The quick brown fox jumps over the lazy dog.
Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy.
Größe, Straße, ÄÖÜ, ẞ, ſs, Æneas, Øre, Łódź, İstanbul, ı, ǅ, ǆ
Съешь же ещё этих мягких французских булок, да выпей чаю
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ὦ ἄνδρες Ἀθηναῖοι
שלום עולם, דָּג סַקְרָן שָׁט בְּיָם
مرحبا بالعالم، السلامُ عليكم ١٢٣٤٥٦
नमस्ते दुनिया, क्षत्रिय ज्ञान १२३
হ্যালো বিশ্ব ১২৩
สวัสดีชาวโลก ภาษาไทย ๑๒๓
ສະບາຍດີ ຊາວໂລກ
မင်္ဂလာပါ ကမ္ဘာလောက
សួស្តី​ពិភពលោក
你好，世界！這是一個測試。一二三四五，㐀㐁𠀀𠀁
こんにちは世界。カタカナ、ひらがな、ｶﾅ、々〆ヶ
안녕하세요 세계! ㄱㄴㄷ 가나다
გამარჯობა მსოფლიო ႠႡ Ა
Բարեւ աշխարհ։
ሰላም ልዑል ፩፪፫
ᏣᎳᎩ ᏗᎧᏃᎮᏗ ꭰꭱ
தமிழ் தெலுగు ಕನ್ನಡ മലയാളം සිංහල
Tiếng Việt: Cộng hòa xã hội chủ nghĩa
Ａｌｐｈａ １２３ ！＂＃
𝒜𝓁𝓅𝒽𝒶 𝟏𝟐𝟑 𝔸𝔹 ℵ₀ ½ ¼ ⅷ Ⅷ ① ⑳ ² ³ ₁
é è ê ë (é è ê ë) ñ ñ
ᚠᛇᚻ᛫ᛒᛦᚦ 𐐀𐐨 𞤀𞤢 𐌰𐌱
"""
EMOJI = [
    "😀",
    "👍🏽",
    "👨‍👩‍👧‍👦",
    "🇩🇪🇯🇵",
    "❤️‍🔥",
    "☃️ snow",
    "a😀b",
    "😀😀😀😀",
    "🤷🏾‍♀️ why",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "✅❌⚠️",
    "🚀 (normal) 😶‍🌫️ (multiple)",
    "©®™",
    "→←↑↓",
    "─│┌┐",
]
CONTRACTIONS = [
    "I'm",
    "you'RE",
    "we've",
    "they'Ll",
    "it'S",
    "don't",
    "DON'T",
    "'s",
    "'S",
    "'ſ",
    "x'ſturm",
    "'",
    "''",
    "'''",
    "'re're",
    " 're",
    "x'd",
    "X'D",
    "y'all'd've",
    "’s",
    "o'clock",
    "'tis",
    "'Twas",
    "'ve'll'm'd't",
    "ROCK'N'ROLL",
    "l'été",
    "'k",
    "'ll l'l",
]
DIGITS = [
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "123456",
    "1234567890",
    "3.14159",
    "1,000,000.00",
    "2024-01-31T23:59:59Z",
    "0xDEADBEEF",
    "1e-10",
    "v1.2.3",
    "a1b2c3",
    "١٢٣٤",
    "१२३४",
    "Ⅳ",
    "½",
    "²",
    "12²",
    "٣.١٤",
    "1 2 3",
    " 1",
    "  12",
    "\t3",
    "007",
    "99 bottles",
    "100%",
    "$100.00",
    "€5",
    "10°C",
    "1st 2nd 3rd",
    "１２３４",
]
SPACES = [
    " ",
    "  ",
    "   ",
    "    ",
    " " * 7,
    " " * 8,
    " " * 15,
    " " * 16,
    " " * 17,
    " " * 31,
    " " * 64,
    " " * 100,
    " " * 300,
    "\t",
    "\t\t",
    "\t\t\t\t",
    "\n",
    "\n\n",
    "\n\n\n",
    "\n" * 10,
    "\r",
    "\r\n",
    "\r\n\r\n",
    " \n",
    "\n ",
    " \n \n ",
    "  \t \n\t ",
    "a  b",
    "a   b",
    " a",
    "  a",
    "   a",
    "a ",
    "a  ",
    "a   ",
    "a \n b",
    "a\n\n\nb",
    "\n\n a",
    " \t a",
    "a\tb",
    "a\u00a0b",
    "\u00a0",
    "\u00a0\u00a0x",
    "\u2003x",
    "\u3000x",
    "x\u3000\u3000y",
    "\u2028",
    "\u2029x",
    "\u0085x",
    "\u200b",
    "x\u200by",
    "\ufeffx",
    "\x0bx",
    "\x0cx",
    "  \n  \n    x",
    "x" + " " * 20 + "y",
    "x" + "\n" * 20 + "y",
    "a\r\n  b\r\n",
    "▁",
    "▁▁x",
    " ▁ ",
]
CONTROLS = [
    "\x01",
    "\x02\x03",
    "\x07bell",
    "\x08",
    "\x1b[31mred\x1b[0m",
    "\x1f",
    "\x7f",
    "\x80",
    "\x9f",
    "a\x01b",
    "\u200d",
    "\u200e\u200f",
    "\u202edlrow",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\U0010ffff",
    "\ue000",
    "\u0301",
    "a\u0301\u0302\u0303",
    "\u0301a",
    "Z̤͔ͧ̑̓ä͖̭̈̇lͮ̒ͫǧ̗͚̚o̙̔ͮ̇͐̇",
    "\ud7ff",
    "\u00ad",
    "\x1c\x1d\x1e",
    "x\x1cy",
    "\u180e",
    "\u2060",
]
PUNCTUATION = [
    "!",
    "!!!",
    "...",
    "…",
    "?!",
    "--",
    "—",
    "–",
    "-->",
    "=>",
    "::",
    "##",
    "### Title",
    "**bold**",
    "_it_",
    "`code`",
    "```py\nx\n```",
    "~~~",
    "^^^",
    "|||",
    "a|b",
    "<>",
    "<a>",
    "</a>",
    "$$",
    "$x$",
    "+1",
    "a+b=c",
    "(a)",
    "[b]",
    "{c}",
    '"q"',
    "“q”",
    "«q»",
    "¿q?",
    "¡q!",
    "§1",
    "¶",
    "†",
    "•",
    "a.b.c",
    "a,b",
    "a;b",
    "@user",
    "#tag",
    "user@example.com",
    "https://example.com/a?b=c&d=e#f",
    "/usr/bin/env",
    "C:\\Windows\\System32",
    "1/2",
    "50%",
    "a/b/c\n",
    "...\n\n",
    "!\n",
    "、。",
    "！？",
    "\\n",
    "\\",
    "//",
    "/*",
    "*/",
    "%d%s",
    "&&",
    "||",
    "@@@@",
    "====",
    "____",
    "a_b_c",
    "=====\n-----\n",
]
WORDS = ["", "a", "A", "Hello", " Hello", "hello world", "HELLO WORLD", "camelCase", "PascalCase", "snake_case", "SCREAMING_SNAKE", "kebab-case", "iPhone", "McDonald", "XMLHttpRequest", "aB", "Ab", "ABc", "aBC", "ÀÉÎ", "àÉî", "Éa", "antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab", "the the the the", "ieo ieo", "Llama llama LLAMA", "w048 7tuijk dsdfhu", "discards", "fi ﬁ ﬀ", "Cửa Việt", "<unk>", "<s>", "</s>", "<0x0A>", "[PAD5]", "<|", "|>", "<|x|>"]  # fmt: skip


def texts() -> list[str]:
    """Code, scripts, emoji, contractions, digits, runs of spaces, controls, punctuation: every text once."""
    groups = [
        EMOJI,
        CONTRACTIONS,
        DIGITS,
        SPACES,
        CONTROLS,
        PUNCTUATION,
        WORDS,
        CODE.splitlines(),
        SCRIPTS.splitlines(),
    ]
    return list(dict.fromkeys([text for group in groups for text in group] + [CODE, SCRIPTS]))


@dataclass
class Pair:
    """llama.cpp and `tokenizers`, on the same vocabulary."""

    metadata: dict[str, Value]
    files: dict[str, bytes]
    ours: Tokenizer
    theirs: llama.Model

    @property
    def named(self) -> list[str]:
        """Texts with the names of special and user-defined tokens in them."""
        types = self.metadata["tokenizer.ggml.token_type"].data
        tokens = self.metadata["tokenizer.ggml.tokens"].data
        names = [tokens[i] for kind in (2, 3, 4) for i in [j for j, t in enumerate(types) if t == kind][:6]]
        shapes = ["{}", "a{}b", "a {} b", "{}{}", "{} x", "x\n{}\n", "  {}  ", "{}user\nHi!{}\n"]
        return [shape.replace("{}", name) for name in names for shape in shapes]

    def differences(self, cases: list[str], *, special: bool) -> list[str]:
        """What does not agree, with and without BOS and EOS."""
        self.ours.encode_special_tokens = not special
        bad = []
        for text in cases:
            for around in (False, True):
                expected = self.theirs.tokenize(text, special=special, add_special=around)
                got = self.ours.encode(text, add_special_tokens=around).ids
                if got != expected:
                    bad.append(f"{text[:60]!r}: {got[:12]} here, {expected[:12]} llama.cpp")
        return bad


@cache
def pair(name: str) -> Pair:
    return paired(smollm.variant("Q4_1") if name == "smollm2" else vocab.vocab(name))


def paired(path: Path) -> Pair:
    with gguf.read(path) as archive:
        metadata = {key: value for key, value in archive.metadata.items() if key.startswith(("tokenizer.", "general."))}
    files = tokenizer.tokenizer_files(metadata)
    return Pair(
        metadata, files, Tokenizer.from_str(files["tokenizer.json"].decode()), llama.Model(path, vocab_only=True)
    )


def assert_same_ids(both: Pair) -> None:
    cases = texts()
    assert len(cases) >= 300
    assert both.differences(cases, special=False) == []
    assert both.differences(cases + both.named, special=True) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_same_ids(name: str) -> None:
    both = pair(name)
    assert both.named
    assert_same_ids(both)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_the_same_ids_for_other_vocabularies(name: str) -> None:
    assert_same_ids(paired(vocab.vocab(name)))


def assert_published(both: Pair, name: str) -> None:
    cases = vocab.published(name)
    assert len(cases) >= 40
    both.ours.encode_special_tokens = False
    got = [both.ours.encode(text, add_special_tokens=False).ids for text, _ in cases]
    assert got == [ids for _, ids in cases]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cases(name: str) -> None:
    assert_published(pair(name), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED_TOO)
def test_published_cases_of_other_vocabularies(name: str) -> None:
    assert_published(paired(vocab.vocab(name)), name)


def renamed(source: Path, target: Path, pre: str) -> Path:
    """A vocabulary under another pre-tokenizer: the words differ, so the ids do."""
    with gguf.read(source) as archive:
        keys = {k: v for k, v in archive.metadata.items() if k != "tokenizer.ggml.pre"}
        keys["tokenizer.ggml.pre"] = Value.scalar(Kind.STRING, pre)
        gguf.write(Archive("gguf", keys), target)
    return target


@pytest.mark.parametrize("pre", part(sorted({known: name for name, known in reversed(NAMES_OF.items())}.values()), 3))
def test_every_pattern_cuts_like_llamacpp(pre: str, tmp_path: Path) -> None:
    both = paired(renamed(vocab.vocab("gpt-2"), tmp_path / "v.gguf", pre))
    cases = [text for text in texts() if len(text) < 100]  # the patterns are slow in llama.cpp
    assert len(cases) >= 300
    assert both.differences(cases, special=True) == []


def test_every_name_is_one_of_llamacpp(tmp_path: Path) -> None:
    ids = set()
    for pre in NAMES_OF:
        both = paired(renamed(GOLDEN, tmp_path / "v.gguf", pre))
        assert both.differences(SCRIPTS.splitlines(), special=True) == [], pre
        ids.add(tuple(both.ours.encode(CODE * 3).ids))
        both.theirs.close()
    assert len(ids) > 1


def test_encoding_back_and_forth_gives_the_text() -> None:
    for name in ("smollm2", "llama-spm"):
        both = pair(name)
        both.ours.encode_special_tokens = True
        for text in CODE.splitlines() + SCRIPTS.splitlines():
            assert both.ours.decode(both.ours.encode(text, add_special_tokens=False).ids) == text


def test_making_the_files_is_fast() -> None:
    metadata = pair("smollm2").metadata
    times = []
    for _ in range(2):
        start = time.perf_counter()
        files = tokenizer.tokenizer_files(metadata)
        middle = time.perf_counter()
        back = tokenizer.tokenizer_metadata(files, 49152)
        times.append((middle - start, time.perf_counter() - middle))
    assert back["tokenizer.ggml.tokens"] == metadata["tokenizer.ggml.tokens"]
    assert back["tokenizer.ggml.merges"] == metadata["tokenizer.ggml.merges"]
    assert back["tokenizer.ggml.token_type"] == metadata["tokenizer.ggml.token_type"]
    assert back["tokenizer.ggml.pre"] == metadata["tokenizer.ggml.pre"]
    assert back["tokenizer.chat_template"] == metadata["tokenizer.chat_template"]
    assert min(t for t, _ in times) < 1.0  # 0.1 where it was measured; a machine under load is slower
    assert min(t for _, t in times) < 1.0
