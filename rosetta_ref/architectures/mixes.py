"""The type of every tensor when `--type` is asked for, as llama.cpp's `llama_model_quantize` chooses it.

Read `mix_table` first: the mixes, roles and conditions. Here a model is put to them, in llama.cpp's order: which tensors are
rounded at all, the embedding that is also the output, the mix's exceptions, experts and 70B models, and last what stands in
for a type whose blocks do not fit the rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from rosetta_ref.architectures.checked import Keys, whole
from rosetta_ref.architectures.mix_table import EMBEDDINGS, FALCON, OUTPUT, Mix, Place, is_rounded, role_of
from rosetta_ref.archive import Kind, Tensor, Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import RaggedRowError

#: The types that are rounded to others; nothing is rounded twice.
SOURCES = ("F32", "F16", "BF16")
#: What stands in for a type of large blocks where rows are no whole number of them; F16 where that does not fit either.
_STAND_INS = {
    **dict.fromkeys(
        ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"
    ),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}  # fmt: skip
#: Types of so few bits that llama.cpp does not round to them unweighted.
_NEED_WEIGHTS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")
#: Mixes that give the output of attention five bits where eight experts share it.
_SHARED_OUTPUT = (
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M", "IQ4_NL", "IQ4_XS",
)  # fmt: skip
#: How many layers the architectures have whose model of that depth llama.cpp takes for one of 70B.
_LAYERS_OF_70B = {"llama": 80, "llama-embed": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}
#: Architectures that have rules of their own in llama.cpp, which are not known here.
_OWN_RULES = ("glm5-next", "bailingmoe3")


class RequantizedError(RosettaError):
    """Only F32, F16 and BF16 are rounded to another type: what was rounded once is not rounded again."""


class UnknownMixRulesError(RosettaError):
    """A mix is made of the models whose rules are known."""


@dataclass(frozen=True)
class _Model:
    """What the rules ask of a model. Numbers are looked up when a rule asks, so a model without metadata has pure mixes."""

    metadata: Mapping[str, Value]
    names: tuple[str, ...]
    weighted: bool

    @cached_property
    def architecture(self) -> str:
        value = self.metadata.get("general.architecture")
        return str(value.plain()) if value is not None else ""

    @cached_property
    def layers(self) -> int:
        return Keys(self.metadata, self.architecture).need("block_count")

    @cached_property
    def experts(self) -> int:
        return self._first("expert_count", 0)

    @cached_property
    def heads(self) -> tuple[int, int]:
        """Heads of q, and of k and v, in the first layer: some models count them by layer."""
        heads = self._first("attention.head_count", 0)
        return heads, self._first("attention.head_count_kv", heads)

    @cached_property
    def values(self) -> int:
        """How many tensors are a v."""
        return sum(role_of(name) == "v" for name in self.names)

    @cached_property
    def of_70b(self) -> bool:
        if self.layers != _LAYERS_OF_70B.get(self.architecture):
            return False
        return not self.architecture.startswith("llama") or self.heads[0] != self.heads[1]

    def _first(self, key: str, default: int) -> int:
        value = self.metadata.get(f"{self.architecture}.{key}")
        plain = default if value is None else value.plain()
        first = plain[0] if isinstance(plain, list) and plain else plain
        if first == 0 and type(first) is int:
            return 0
        return whole(first, f"{self.architecture}.{key}")

    def place(self, role: str, position: int) -> Place:
        sharing = self.heads[0] // self.heads[1] if self.heads[1] else 0
        total = self.values if role == "v" else self.layers
        return Place(position, total, sharing, self.experts, self.weighted)


def types_of(mix: Mix, tensors: Iterable[Tensor], metadata: Mapping[str, Value], *, weighted: bool) -> dict[str, str]:
    """The type of every tensor, by name.

    `weighted` says that an importance matrix is given: some mixes take fewer bits then. Raises RequantizedError,
    RaggedRowError where nothing stands in for the type, UnknownMixRulesError, and MissingKeyError for a number that a rule needs.
    """
    ordered = sorted(tensors, key=_llama_order)
    model = _Model(metadata, tuple(tensor.name for tensor in ordered), weighted)
    if not mix.pure and not TYPES[mix.type].is_scalar and model.architecture in _OWN_RULES:
        raise UnknownMixRulesError(f"{model.architecture} has rules of its own", hint="--pure knows no exceptions.")
    seen: Counter[str] = Counter()
    found: dict[str, str] = {}
    for tensor in ordered:
        kind = tensor.type.name
        if is_rounded(tensor.name, tensor.shape):
            role = role_of(tensor.name) or ""
            kind = _type_of(mix, tensor, role, seen[role], model)
            seen[role] += 1
            _require_source(tensor, kind)
        found[tensor.name] = kind
    return found


def _llama_order(tensor: Tensor) -> tuple[int, str]:
    """llama.cpp counts tensors by layer, then by name, whatever their order in the file."""
    match = re.match(r"blk\.(\d+)", tensor.name)
    return (int(match[1]) if match else -1), tensor.name


def _require_source(tensor: Tensor, kind: str) -> None:
    if kind != tensor.type.name and tensor.type.name not in SOURCES:
        raise RequantizedError(
            f"type {tensor.type.name} would become {kind}", file=tensor.file, tensor=tensor.name, offset=tensor.offset,
            hint="Convert to SafeTensors with --dtype f32 --no-keep-blocks first, where the loss is wanted.",
        )  # fmt: skip


def _type_of(mix: Mix, tensor: Tensor, role: str, position: int, model: _Model) -> str:
    if TYPES[mix.type].is_scalar:
        return mix.type
    kind = mix.type if mix.pure else _mixed(mix, tensor, role, position, model)
    return _fitting(kind, tensor)


def _mixed(mix: Mix, tensor: Tensor, role: str, position: int, model: _Model) -> str:
    """The type by the rules of a mix, whatever the length of the rows."""
    falcon = model.architecture == "falcon"
    if role == "out" or (role == "embd" and OUTPUT not in model.names):
        # The embedding of a tied model is its output too, and is treated as such.
        if falcon or tensor.shape[-1] % TYPES[mix.type].elements:
            return "Q8_0"
        return mix.exceptions["out"][0].type if "out" in mix.exceptions else "Q6_K"
    if mix.name == "MXFP4_MOE":
        return "MXFP4" if len(tensor.shape) > 2 and tensor.shape[-3] > 1 else "Q8_0"
    fewest_bits = mix.type.startswith(("IQ1", "IQ2"))
    chosen = FALCON[mix.name] if falcon else mix
    if role in chosen.exceptions:
        by_layer = model.experts > 1 and role in ("down", "gate", "up") and not fewest_bits
        kind = chosen.type_at(role, model.place(role, _layer_of(tensor, model) if by_layer else position))
    else:
        kind = mix.type
    return kind if fewest_bits else _for_the_whole_model(mix, role, kind, model)


def _for_the_whole_model(mix: Mix, role: str, kind: str, model: _Model) -> str:
    """What eight experts or a size of 70B change in any mix: few tensors serve many, and cost little with more bits."""
    if model.experts == 8:
        if role in ("v", "k"):
            return "Q8_0"
        if role == "o" and model.architecture != "falcon":
            return "Q5_K" if mix.name in _SHARED_OUTPUT else mix.type
    if role == "v" and kind in ("Q3_K", "Q4_K") and model.of_70b:
        return "Q5_K"
    return kind


def _layer_of(tensor: Tensor, model: _Model) -> int:
    """With experts a layer has several tensors of a role, so the name is asked."""
    layer = _llama_order(tensor)[0]
    if not 0 <= layer < model.layers:
        raise UnknownMixRulesError(f"no layer of the {model.layers} has it", file=tensor.file, tensor=tensor.name)
    return layer


def _fitting(kind: str, tensor: Tensor) -> str:
    """The type, or what stands in for it where the rows are no whole number of its blocks. Raises RaggedRowError."""
    row = tensor.shape[-1]
    if _fits(kind, row):
        return kind
    if kind not in _STAND_INS and TYPES[kind].elements > 32:
        raise RaggedRowError(
            f"a row of {row} elements is not a whole number of {kind} blocks of {TYPES[kind].elements}",
            file=tensor.file, tensor=tensor.name, hint="No type is known to stand in for it.",
        )  # fmt: skip
    instead = _STAND_INS.get(kind, kind)
    return instead if _fits(instead, row) else "F16"


def _fits(kind: str, row: int) -> bool:
    # APR's own types run over the flattened tensor: no row is too short for them.
    found = TYPES[kind]
    return found.holds_rows(row)


def needs_weights(mix: Mix, name: str, kind: str) -> bool:
    """Whether llama.cpp refuses to round that tensor to that type without an importance matrix."""
    if name in (*EMBEDDINGS, OUTPUT):
        return False
    return kind in _NEED_WEIGHTS or (kind == "Q2_K" and mix.name == "Q2_K_S")


def described(mix: Mix, metadata: Mapping[str, Value]) -> dict[str, Value]:
    """The metadata with the keys that describe the encoding at their end, where llama.cpp writes them.

    A type that `general.file_type` has no number for is left undescribed.
    """
    ours = ("general.quantization_version", "general.file_type")
    made = {key: value for key, value in metadata.items() if key not in ours}
    made[ours[0]] = Value.scalar(Kind.U32, 2)
    if mix.file_type is not None:
        made[ours[1]] = Value.scalar(Kind.U32, mix.file_type)
    return made
