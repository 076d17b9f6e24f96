"""Texts of YAML, TOML, Jinja and lists of merges."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from rosetta_ref.campaigns.mutate import junk, raw

_YAML = (
    "a: &a [x]\nb: *a\n", "- &a [*a]\n", "!!python/object/apply:os.system ['true']", "? [1, 2]\n: 3\n", "? {a: 1}\n: b\n",
    "a: 1\na: 2\n",
    "- " * 300 + "1\n", "[" * 2000, "%YAML 9.9\n---\na: 1", "--- a\n--- b\n", "!!binary x", "!!timestamp 9999-99-99",
     "- <<: 5\n", "\t- a",
    "- 0o777777777777777777777777777777777777777777\n", "- 1:2:3:4:5:6\n", "- .nan\n", "- 2001-02-30\n", "# only\n",
    "- !!set {a, b}\n",
    "a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: &e [*d,*d]\n- *e\n",
)  # fmt: skip
_TOML = (
    "a." * 40 + "b = 1\n", "a = " + "[" * 500, "a = 1\na = 2\n", "[[x]]\n[x]\n", "a = 99999999999999999999999\n", "a = nan\n",
     "a = 1979-99-99\n",
    "[converters]\nx = 5\n", "[converters.x]\nfunction = 5\n", "[converters.x]\ncommand = []\n",
    "[converters.reference]\ncommand = 'true {src} {dst}'\n",
    '[converters."\\u202e"]\nfunction = "c.py:convert"\n', "[tool]\nrosetta-ref = 1\n", "a = {b = {c = {d = 1}}}\n",
    '"" = 1\n', "x = '''" + "y" * 50_000 + "'''\n",
    "[converters.c]\nfunction = 'c.py:convert'\nenvironment = {PATH = 5}\n",
    "[converters.c]\nfunction = 'c.py:convert'\ntime-limit = -1\n",
    "[converters.c]\nfunction = 'c.py:convert'\npairs = ['G-Q', 5]\n", "[converters.c]\nfunction = '../outside/x.py:convert'\n",
)  # fmt: skip
_JINJA = (
    "{% for i in range(10**9) %}x{% endfor %}", "{{ 'a' * 10**9 }}", "{{ ''.__class__.__mro__ }}",
    "{% include '/etc/hostname' %}", "{{ messages[0]['x'] }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{{ 1/0 }}", "{% if %}", "{{ raise_exception('x') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "{% set x = 'a' %}" * 2000, "{{ 'a'.format_map }}",
    "{{ '%9999999999d' % 1 }}", "\x00", "{#",
    f"x\n::error::{junk.FORGED}", "{{ lipsum(9999) }}", "{{ strftime_now('%' * 1000) }}",
)  # fmt: skip


def _lines(rng: random.Random, text: str) -> str:
    """A line twice, away, or elsewhere."""
    lines = text.splitlines(keepends=True) or [""]
    at, draw = rng.randrange(len(lines)), rng.randrange(4)
    if draw == 0:
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif draw == 1:
        lines.pop(at)
    elif draw == 2:
        lines[at] = "  " + lines[at] if rng.random() < 0.5 else lines[at].lstrip()
    else:
        lines[at:at] = [lines[at]] * rng.choice((2, 1000))
    return "".join(lines)


def _word(rng: random.Random, text: str) -> str:
    """A word is another one."""
    words = text.split(" ")
    words[rng.randrange(len(words))] = rng.choice((junk.text(rng), str(rng.choice(junk.JUNK)), rng.choice(words)))
    return " ".join(words)


def _planted(rng: random.Random, text: str, pieces: Sequence[str]) -> str:
    """A piece that is meant badly: instead of the text, before it, or behind it."""
    piece, draw = rng.choice(pieces), rng.random()
    return piece if draw < 0.5 else piece + "\n" + text if draw < 0.75 else text + "\n" + piece


def _mutator(pieces: Sequence[str], name: str) -> Callable[[random.Random, bytes], tuple[bytes, str]]:
    def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
        draw = rng.random()
        if draw > 0.8:
            return raw.mutate(rng, data)
        text = data.decode("utf-8", "surrogateescape")
        if draw < 0.4:
            made, label = _planted(rng, text, pieces), "planted"
        else:
            made, label = (_lines(rng, text), "lines") if draw < 0.6 else (_word(rng, text), "word")
        return made.encode("utf-8", "surrogatepass" if "\ud800" in made else "surrogateescape")[
            : raw.MOST
        ], f"{name}/{label}"

    return mutate


yaml = _mutator(_YAML, "yaml")
toml = _mutator(_TOML, "toml")
jinja = _mutator(_JINJA, "jinja")
merges = _mutator(("#version: 0.2\n" * 3, "a b c\n", " \n", "a\n", "\u0120 t\n" * 3000), "merges")
