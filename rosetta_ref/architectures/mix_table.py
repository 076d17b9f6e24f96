"""llama.cpp's file types ("mixes") as a table: a type for most matrices, and who gets another one.

Read `_TABLE` first, a mix a line: its name, its number in `general.file_type`, the type of most matrices, and then by role the
exceptions, `role: type condition, type condition, type`. The first type whose condition holds is taken, and the mix's own type
where none does. `CONDITIONS` says what the words mean, `Place` what they look at, `role_of` which tensor has which role. What
is not a matter of one mix (experts, models of 70B, rows that are no whole number of blocks) is in `mixes`.

The rules were read off `llama_model_quantize` of llama.cpp (the copy in llama-cpp-python 0.3.36). They are habits that grew, not
a theory: a few layers and the tensors that many others depend on are given more bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rosetta_ref.quant import TYPES

_TABLE = """
F32        0 F32
F16        1 F16
Q4_0       2 Q4_0    | down: Q4_1 weighted+first_8th
Q4_1       3 Q4_1
Q8_0       7 Q8_0    | out: Q8_0
Q5_0       8 Q5_0    | down: Q5_1 weighted+first_8th
Q5_1       9 Q5_1
Q2_K      10 Q2_K    | v: Q4_K grouped, Q3_K | down: Q3_K | o: Q3_K
Q3_K_S    11 Q3_K
Q3_K_M    12 Q3_K    | v: Q5_K first_2, Q4_K | down: Q5_K first_16th, Q4_K | o: Q4_K
Q3_K_L    13 Q3_K    | v: Q5_K | down: Q5_K | o: Q5_K
Q4_K_S    14 Q4_K    | v: Q5_K first_4 | down: Q5_K first_8th
Q4_K_M    15 Q4_K    | v: Q6_K more_bits | down: Q6_K more_bits
Q5_K_S    16 Q5_K
Q5_K_M    17 Q5_K    | v: Q6_K more_bits | down: Q6_K more_bits
Q6_K      18 Q6_K
IQ2_XXS   19 IQ2_XXS | out: Q5_K | embd: Q2_K | v: Q4_K shared, Q2_K | down: Q2_K first_8th | k: Q4_K 8_experts | o: Q5_K 8_experts
IQ2_XS    20 IQ2_XS  | out: Q5_K | embd: Q2_K | v: Q4_K shared, Q2_K | down: Q2_K first_8th | k: Q4_K 8_experts | o: Q5_K 8_experts
Q2_K_S    21 Q2_K    | v: Q4_K grouped | down: Q4_K first_8th
IQ3_XS    22 IQ3_S   | v: Q4_K grouped | q: IQ3_XXS | k: IQ3_XXS | gate: IQ3_XXS middle | up: IQ3_XXS middle
IQ3_XXS   23 IQ3_XXS | out: Q5_K | embd: IQ3_S | v: Q4_K grouped, IQ3_S unweighted | q: IQ2_S | k: IQ2_S | down: Q4_K unweighted+first_8th, Q3_K unweighted | o: IQ3_S
IQ1_S     24 IQ1_S   | out: Q5_K | embd: Q2_K | v: Q4_K shared, Q2_K | down: Q2_K first_8th | k: Q4_K 8_experts | o: Q5_K 8_experts, IQ2_XXS
IQ4_NL    25 IQ4_NL  | v: Q5_K grouped | down: Q5_K unweighted+first_8th
IQ3_S     26 IQ3_S   | v: Q4_K grouped
IQ3_M     27 IQ3_S   | v: Q4_K | down: Q4_K first_8th, Q4_K 8_experts+more_bits | o: Q4_K
IQ2_S     28 IQ2_XS  | out: Q5_K | embd: IQ3_S | v: Q4_K shared, IQ3_S | down: IQ3_S first_8th | k: Q4_K 8_experts | o: Q5_K 8_experts, IQ3_S
IQ2_M     29 IQ2_S   | out: Q5_K | embd: IQ3_S | v: Q4_K shared, IQ3_S | down: IQ3_S first_8th | k: Q4_K 8_experts | o: Q5_K 8_experts, IQ3_S
IQ4_XS    30 IQ4_XS  | v: Q5_K grouped | down: Q5_K unweighted+first_8th
IQ1_M     31 IQ1_M   | out: Q5_K | embd: Q2_K | v: Q4_K shared, Q2_K | down: Q2_K first_8th | k: Q4_K 8_experts | o: Q5_K 8_experts, IQ2_XXS
BF16      32 BF16
TQ1_0     36 TQ1_0   | embd: Q4_K
TQ2_0     37 TQ2_0   | embd: Q4_K
MXFP4_MOE 38 MXFP4   | out: Q8_0
Q1_0      40 Q1_0
Q2_0      41 Q2_0    | embd: Q4_K
"""  # noqa: E501 (a mix is a line)

#: What Falcon has instead: roles that are empty here have no exception.
_FALCON = """
Q2_K    | o:
Q3_K_M  | down: Q5_K first_16th, Q4_K more_bits | o:
Q3_K_L  | down: Q4_K | o: Q4_K
Q4_K_S  | down:
Q4_K_M  | down: Q6_K first_16th, Q5_K more_bits
IQ3_XXS | o:
IQ3_M   | o:
"""

#: Names that llama-quantize takes for another one.
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
#: Numbers of `general.file_type` for types that no mix of llama-quantize is named after.
_PLAIN_NUMBERS = {"MXFP4": 38, "NVFP4": 39}


@dataclass(frozen=True)
class Place:
    """Where a tensor stands among those of its role, and what conditions ask of the model.

    `position` counts from 0, `total` is how many there are. `sharing` is how many query heads a key and value head serves,
    `weighted` whether an importance matrix is given.
    """

    position: int
    total: int
    sharing: int
    experts: int
    weighted: bool

    @property
    def more_bits(self) -> bool:
        """The first and the last eighth, and every third between them."""
        first = self.total // 8
        return self.position < first or self.position >= 7 * self.total // 8 or (self.position - first) % 3 == 2


CONDITIONS: dict[str, Callable[[Place], bool]] = {
    "first_2": lambda at: at.position < 2,
    "first_4": lambda at: at.position < 4,
    "first_8th": lambda at: at.position < at.total // 8,
    "first_16th": lambda at: at.position < at.total // 16,
    "middle": lambda at: at.total // 8 <= at.position < 7 * at.total // 8,
    "more_bits": lambda at: at.more_bits,
    "grouped": lambda at: at.sharing >= 4,
    "shared": lambda at: at.sharing >= 4 or at.experts >= 4,
    "8_experts": lambda at: at.experts == 8,
    "weighted": lambda at: at.weighted,
    "unweighted": lambda at: not at.weighted,
}


@dataclass(frozen=True)
class Choice:
    """A type, and the conditions that all have to hold for it."""

    type: str
    conditions: tuple[str, ...] = ()

    def holds(self, at: Place) -> bool:
        """Whether it is taken at that place."""
        return all(CONDITIONS[name](at) for name in self.conditions)


Exceptions = Mapping[str, tuple[Choice, ...]]


@dataclass(frozen=True)
class Mix:
    """What `--type` names: `file_type` is its number, `type` that of most matrices.

    A `pure` mix has no exceptions: every matrix gets its type, or what stands in for it where rows are too short.
    """

    name: str
    file_type: int | None
    type: str
    exceptions: Exceptions = field(default_factory=dict)
    pure: bool = False

    def type_at(self, role: str, at: Place) -> str:
        """The type by the table's line."""
        return next((one.type for one in self.exceptions.get(role, ()) if one.holds(at)), self.type)


def _exceptions(parts: list[str]) -> dict[str, tuple[Choice, ...]]:
    found: dict[str, tuple[Choice, ...]] = {}
    for part in parts:
        role, _, text = part.partition(":")
        words = [one.split() for one in text.split(",") if one.strip()]
        made = tuple(Choice(kind, tuple(names[0].split("+")) if names else ()) for kind, *names in words)
        assert all(one.type in TYPES and set(one.conditions) <= CONDITIONS.keys() for one in made), part
        found[role.strip()] = made
    return found


def _mix(line: str) -> Mix:
    head, *parts = line.split("|")
    name, number, kind = head.split()
    return Mix(name, int(number), kind, _exceptions(parts))


#: Every mix by its name in llama-quantize.
MIXES: dict[str, Mix] = {mix.name: mix for mix in map(_mix, _TABLE.strip().splitlines())}
#: What they are in a model of the architecture falcon.
FALCON: dict[str, Mix] = dict(MIXES)
for _line in _FALCON.strip().splitlines():
    _name, *_parts = _line.split("|")
    FALCON[_name.strip()] = replace(
        MIXES[_name.strip()], exceptions={**MIXES[_name.strip()].exceptions, **_exceptions(_parts)}
    )


def find(name: str, *, pure: bool = False) -> Mix | None:
    """The mix of that name in any case, else the plain type, which is a pure mix of itself; None for an unknown name.

    >>> find("q4_k").name, find("Q4_K_S", pure=True).type, find("nvfp4").pure
    ('Q4_K_M', 'Q4_K', True)
    """
    wanted = name.upper()
    mix = MIXES.get(_ALIASES.get(wanted, wanted))
    if mix is not None:
        return replace(mix, pure=True, exceptions={}) if pure else mix
    for known in TYPES:
        if known.upper() == wanted:
            return Mix(known, _PLAIN_NUMBERS.get(known), known, pure=True)
    return None


def names() -> list[str]:
    """Every name that `find` knows."""
    return list(dict.fromkeys([*MIXES, *_ALIASES, *TYPES]))


#: A role, and the piece of a name that gives it; the first that fits. Fused and compressed forms of v count as v.
_ROLES = (
    ("v", "attn_qkv.weight"),
    ("v", "attn_kv_b.weight"),
    ("v", "attn_v.weight"),
    ("k", "attn_k.weight"),
    ("q", "attn_q.weight"),
    ("o", "attn_output.weight"),
    ("up", "ffn_up"),
    ("gate", "ffn_gate"),
    ("down", "ffn_down"),
)
EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")
OUTPUT = "output.weight"


def role_of(name: str) -> str | None:
    """The role of a tensor by its name, or None where exceptions know nothing of it.

    >>> role_of("blk.3.attn_v.weight"), role_of("blk.0.ffn_down_exps.weight"), role_of("blk.0.ssm_out.weight")
    ('v', 'down', None)
    """
    if name == OUTPUT:
        return "out"
    if name in EMBEDDINGS:
        return "embd"
    return next((role for role, piece in _ROLES if piece in name), None)


#: Matrices that stay as they are: small ones, and those that decide where others are used. Pieces of names.
KEPT_PIECES = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "time_mix_first.weight",
    "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight",
    "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight",
    "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
    "attn_rel_b.weight", ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd",
    ".patch_merger", "a.rvq.codebook", "mm.a.code_embd",
)  # fmt: skip
KEPT_NAMES = ("position_embd.weight", "token_types.weight")


def is_rounded(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor gets another type at all: it is named a weight and has two dimensions, none of the kept ones.

    Leading dimensions of 1 do not count: ggml does not see them.

    >>> is_rounded("blk.0.attn_q.weight", (8, 8)), is_rounded("blk.0.attn_q.weight", (1, 8))
    (True, False)
    """
    while shape and shape[0] == 1:
        shape = shape[1:]
    return (
        len(shape) >= 2
        and name.endswith("weight")
        and name not in KEPT_NAMES
        and not any(piece in name for piece in KEPT_PIECES)
    )
