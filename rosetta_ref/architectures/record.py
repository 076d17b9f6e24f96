"""The record of an architecture: what Hugging Face, GGUF and APR say of one and the same model.

A record is one file in `models/`, with a module-level `MODEL`. Its roles are lines of text, a part of the model each:

    attn_q   self_attn.q_proj   QE   rows=q ?bias

GGUF's name, Hugging Face's, the shape in `LETTERS` (row-major), and flags:

| flag | meaning |
|---|---|
| a word of `transforms.WORDS` | what is done to the values on the way to GGUF, in order |
| `bias`, `?bias` | there is a bias; there may be one |
| `?` | the part may be absent |

Numbers are lines too:

    attention.layer_norm_rms_epsilon   f32   rms_norm_eps   rms_norm_eps   =1e-6 zero needed

GGUF's key behind the architecture's name, its kind, the key of config.json, APR's key (`-` for none), and flags:

| flag | meaning |
|---|---|
| `=VALUE` | holds where config.json leaves the key out |
| `null=KEY` | the value of that key holds where config.json says null (without `=`: or leaves it out) |
| `zero` | 0 is a value like another |
| `off` | 0 in GGUF says what its absence says, that there is none: null in config.json |
| `needed` | llama.cpp loads no model without it |
| `apr-needed` | it would load another model without it, so an APR file that nobody here wrote has to say it |
| `stated` | left out where config.json leaves it out |
| `late` | stands behind `general.file_type` |
| `untold` | only written where the file has no list of tokens |
| `rope` | read by `rotary` |

All lines are parsed and checked at import.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rosetta_ref.architectures.checked import Keys
from rosetta_ref.architectures.transforms import WORDS, Transform
from rosetta_ref.archive import Kind
from rosetta_ref.errors import RosettaError

#: What the letters of a shape count.
LETTERS = {
    "V": "tokens", "E": "elements of the hidden state", "F": "elements inside the feed-forward part", "D": "elements of a head",
    "Q": "rows of all query heads", "K": "rows of all key heads, and of all value heads",
}  # fmt: skip
#: Where the row order of q and k comes from: what llama.cpp calls its rope, and APR's `rope_type` for it.
ROPES = {"NORM": 0, "NEOX": 2}
KEEP_HINT = "--keep-names carries tensors as stored."

#: The one spelling of a layer's number: 00, +0 or ٠ would be another tensor's name on the other side.
_LAYER = "(0|[1-9][0-9]{0,8})"
_HF = re.compile(rf"(?:model\.layers\.{_LAYER}\.)?(.+)\.(weight|bias)")
_GGUF = re.compile(rf"(?:blk\.{_LAYER}\.)?(.+)\.(weight|bias)")
#: The text model inside of another one, by transformers before 4.52 and since.
_INSIDE = re.compile(r"^(model\.)?language_model\.")
_FLAGS = ("zero", "off", "needed", "apr-needed", "stated", "late", "untold", "rope")


class UnmappedTensorError(RosettaError):
    """A tensor without a mapping is refused, never dropped."""


@dataclass(frozen=True)
class Role:
    """A part of a model: its names, its shape in letters, what is done to its values, and whether it has a bias."""

    gguf: str
    hf: str
    shape: str
    transforms: tuple[Transform, ...] = ()
    bias: str = "never"
    optional: bool = False

    @classmethod
    def of(cls, line: str) -> Role:
        """The role of a line. Raises ValueError for a line that is none.

        >>> Role.of("attn_k  self_attn.k_proj  KE  bias").bias
        'always'
        """
        gguf, hf, shape, *flags = line.split()
        if not set(shape) <= LETTERS.keys():
            raise ValueError(f"{line!r}: {shape} is no shape in the letters {', '.join(LETTERS)}")
        odd = [flag for flag in flags if flag not in (*WORDS, "bias", "?bias", "?")]
        if odd:
            raise ValueError(f"{line!r}: {odd[0]} is no flag")
        bias = "always" if "bias" in flags else "maybe" if "?bias" in flags else "never"
        return cls(gguf, hf, shape, tuple(WORDS[flag] for flag in flags if flag in WORDS), bias, "?" in flags)


@dataclass(frozen=True)
class Number:
    """A number of a model, with its keys in GGUF (behind the architecture's name), config.json and APR."""

    gguf: str
    kind: Kind
    config: str
    apr: str | None
    default: Any = None
    null: str | None = None
    flags: frozenset[str] = frozenset()

    @classmethod
    def of(cls, line: str) -> Number:
        """The number of a line. Raises ValueError for a line that is none."""
        gguf, kind, config, apr, *words = line.split()
        default = next((json.loads(word[1:]) for word in words if word.startswith("=")), None)
        null = next((word.removeprefix("null=") for word in words if word.startswith("null=")), None)
        flags = frozenset(word for word in words if "=" not in word)
        if not flags <= {*_FLAGS}:
            raise ValueError(f"{line!r}: {', '.join(sorted(flags - {*_FLAGS}))} is no flag")
        return cls(gguf, Kind[kind.upper()], config, None if apr == "-" else apr, default, null, flags)


@dataclass(frozen=True)
class Implied:
    """A key of config.json that GGUF has none for: llama.cpp computes its value from others.

    A config.json that says another one is of a model that GGUF cannot describe. `default` holds where the key is left out.
    """

    default: Any
    value: Callable[[Keys], Any]


def roles(text: str) -> tuple[Role, ...]:
    """The roles of lines. Raises ValueError where a line is none, or a name stands twice on one side."""
    found = tuple(Role.of(line) for line in text.strip().splitlines())
    for names in ([role.gguf for role in found], [role.hf for role in found]):
        if len(set(names)) != len(names):
            raise ValueError(f"a name stands twice: {names}")
    return found


def numbers(text: str) -> tuple[Number, ...]:
    """The numbers of lines, in the order in which convert_hf_to_gguf writes them. Raises ValueError."""
    return tuple(Number.of(line) for line in text.strip().splitlines())


@dataclass(frozen=True)
class Model:
    """An architecture, by GGUF's name for it.

    classes, model_types: `architectures` and `model_type` in config.json; the first of each is what is written.
    once, layer: the parts that stand once, and those of each layer.
    numbers: sizes and the like, in the order in which GGUF has them.
    rope: the row order of q and k in GGUF, one of `ROPES`; `scalings` are the kinds of rope scaling that llama.cpp computes in it.
    activation: the key of config.json for it, and the values that mean what llama.cpp computes.
    apr_hf: whether APR files have Hugging Face's names, and not GGUF's; `apr_words` are further words that they call it by.
    tied: whether the head is the embedding where config.json does not say.
    fixed: keys of config.json with the values that GGUF's model has always; any other is refused. The first is written.
    written: keys of config.json that are always written, with their values, though others are read, too.
    bias_flags: keys of config.json that say whether parts have biases, each with those parts.
    unread: by a class of config.json, the keys that it does not have: whatever stands there means nothing.
    windows: by a class of config.json, the layers that see a window in transformers where llama.cpp has none: "all", or those that
    are "asked" for by use_sliding_window, layer_types and max_window_layers.
    silent: by a class of config.json, what it takes for keys that are left out, where that is not what the first class takes.
    implied: keys of config.json that follow from other numbers in GGUF.
    window_pattern: every so-many-th layer sees everything, the others a window; None where all layers see everything.
    nested: whether config.json may hold the numbers under `text_config`; `aside` are the prefixes of tensors of other parts.
    space_prefix: what convert_hf_to_gguf says of `add_space_prefix` behind all other keys; None: it says what the files say.
    spare_rows: whether the embedding and the tokenizer may be of different lengths: what is beyond is left out.
    """

    name: str
    classes: tuple[str, ...]
    model_types: tuple[str, ...]
    once: tuple[Role, ...]
    layer: tuple[Role, ...]
    numbers: tuple[Number, ...]
    rope: str
    scalings: tuple[str, ...] = ("default", "linear", "yarn")
    activation: tuple[str, tuple[str, ...]] = ("hidden_act", ("silu", "swish"))
    apr_hf: bool = False
    apr_words: tuple[str, ...] = ()
    tied: bool = False
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    bias_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    windows: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    implied: Mapping[str, Implied] = field(default_factory=dict)
    window_pattern: int | None = None
    nested: bool = False
    aside: tuple[str, ...] = ()
    space_prefix: bool | None = None
    spare_rows: bool = False

    def __post_init__(self) -> None:
        """Check what the parts say of each other. Raises ValueError."""
        if self.rope not in ROPES:
            raise ValueError(f"{self.name}: rope {self.rope}")
        if self.apr_hf and any(role.transforms for role in (*self.once, *self.layer)):
            raise ValueError(
                f"{self.name}: APR holds GGUF's values, so it cannot have Hugging Face's names for changed ones"
            )

    @property
    def has_rope_freqs(self) -> bool:
        """Whether llama3's rope scaling can be said: it is a tensor of factors."""
        return "llama3" in self.scalings

    def role(self, gguf: str) -> Role | None:
        """The role of a GGUF tensor's name, or None."""
        match = _GGUF.fullmatch(gguf)
        if match is None:
            return None
        layer, part, kind = match.groups()
        return _fitting(self.once if layer is None else self.layer, "gguf", part, kind)

    def number(self, gguf: str) -> Number | None:
        """The number of a GGUF key, or None."""
        return next((number for number in self.numbers if number.gguf == gguf), None)

    def to_gguf(self, name: str) -> str:
        """GGUF's name of a Hugging Face tensor. Raises UnmappedTensorError."""
        plain = _INSIDE.sub(r"\1", name) if self.nested else name
        match = _HF.fullmatch(plain)
        if match is not None:
            layer, part, kind = match.groups()
            role = _fitting(self.once if layer is None else self.layer, "hf", part, kind)
            if role is not None and not (layer is None and plain.startswith("model.layers.")):
                return f"{role.gguf}.{kind}" if layer is None else f"blk.{layer}.{role.gguf}.{kind}"
        raise UnmappedTensorError(f"{self.name} has no such tensor", tensor=name, hint=KEEP_HINT)

    def to_hf(self, name: str) -> str:
        """Hugging Face's name of a GGUF tensor. Raises UnmappedTensorError."""
        role, match = self.role(name), _GGUF.fullmatch(name)
        if role is None or match is None:
            raise UnmappedTensorError(f"{self.name} has no such tensor", tensor=name, hint=KEEP_HINT)
        layer, _, kind = match.groups()
        return f"{role.hf}.{kind}" if layer is None else f"model.layers.{layer}.{role.hf}.{kind}"


def _fitting(table: tuple[Role, ...], side: str, part: str, kind: str) -> Role | None:
    role = next((role for role in table if getattr(role, side) == part), None)
    return None if role is not None and kind == "bias" and role.bias == "never" else role
