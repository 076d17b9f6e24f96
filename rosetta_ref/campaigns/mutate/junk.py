"""Values that readers trip over: numbers at the edges of their width, names that steer, texts that no codec takes."""

from __future__ import annotations

import random
from typing import Any

#: Begins a line only where a message was not kept in one.
FORGED = "zzforged"
#: A mark of Unicode that turns the direction of what follows.
_BIDI = "\u202e"

#: Names that leave the folder, steer a log, or mean something to whoever finds them.
NAMES = (
    "../planted.txt", "../../outside/victim.txt", "/proc/self/cwd/../outside/victim.txt", "..", ".", "", "a/b", "a\\b", "nul\0l",
    f"x\n::error::{FORGED}", f"::error::{FORGED}", f"##[error]{FORGED}", f"x\r\n{FORGED}", f"x\u2028{FORGED}", f"x\x85{FORGED}",
    f"{_BIDI}txt.exe", "\x1b[2J\x1b]0;t\x07", "conftest.py", "sitecustomize.py", ".bash_profile", "numpy.py", "model.safetensors",
    "model-00001-of-00002.safetensors", "model.safetensors.index.json", "rosetta/source.json", "source.json", "PUBLISHING.json",
    "config.json", "tokenizer.json", "README.md", "modeling_x.py", ".git/hooks/post-checkout",
    "additional_chat_templates/../../x.jinja",
    "additional_chat_templates/t.jinja", "chat_template.jinja", "\udcff\udcfe", "\ud800", "n" * 300, "e\u0301", "CON", "aux.json ",
    "--force", "-", "~", "$HOME", "%s%n", "{0.__class__}", "{{7*7}}",
)  # fmt: skip

TEXTS = (*NAMES, "x" * 70_000, "0" * 5_000, "9" * 5_000, "NaN", "1e999", "-0", "null", "[" * 200, "\ufeff", "\x00" * 8)

#: Values of JSON that are something else than what belongs there.
JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 4.5, -0.0, 1e308, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63), 10**400, float("nan"),
    float("inf"), "", "4", [], {}, [[]], [None], ["x"], [1, "a"], {"a": 1}, {"": None}, [{"type": []}], {"type": None},
    {"content": 5}, [[[[[]]]]],
)  # fmt: skip


def name(rng: random.Random) -> str:
    """A hostile name."""
    return rng.choice(NAMES)


def text(rng: random.Random) -> str:
    """A hostile text."""
    return rng.choice(TEXTS) if rng.random() < 0.9 else rng.choice("ab\n ") * rng.choice((1 << 10, 1 << 14, 1 << 17))


def raw_text(rng: random.Random) -> bytes:
    """The same as bytes, and bytes that are no UTF-8."""
    if rng.random() < 0.1:
        return rng.choice((b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", bytes(range(256))))
    return text(rng).encode("utf-8", "surrogatepass")


def value(rng: random.Random) -> Any:
    """A value of JSON of any type, sometimes nested deeply."""
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(JUNK)
    if draw < 0.9:
        return text(rng)
    if draw < 0.95:
        return [0] * rng.choice((100, 10_000, 50_000))
    made: Any = rng.choice(JUNK)
    for _ in range(rng.choice((40, 62, 63, 64, 65, 66, 200))):
        made = [made] if rng.random() < 0.5 else {"a": made}
    return made


def number(rng: random.Random, old: int, bits: int, neighbours: tuple[int, ...] = ()) -> int:
    """An unsigned number of that width in another's place: an edge, a neighbour's, or off by a little."""
    top = 1 << bits
    edges = (
        0,
        1,
        top - 1,
        top - 2,
        top >> 1,
        (top >> 1) - 1,
        top >> 2,
        2**16,
        2**20 + 1,
        2**30,
        2**31,
        2**32,
        2**40,
        2**62,
    )
    draw = rng.random()
    if draw < 0.45:
        made = rng.choice(edges)
    elif draw < 0.75 or not neighbours:
        made = old + rng.choice((-1, 1, -2, 2, 7, 8, 31, 32, 64, old, -old // 2, old * 255))
    else:
        made = rng.choice(neighbours)
    return made % top
