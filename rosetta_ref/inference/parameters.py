"""The numbers that a forward pass needs, read from each format in that format's own words.

What stands in a file is taken as it stands: GGUF's keys as llama.cpp reads them, config.json as transformers does, APR's own keys.
Real numbers are rounded to float32 wherever they come from, since that is what every loader computes with (and what GGUF
stores): config.json's 1e-5 and GGUF's are then the same number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rosetta_ref.architectures.aprender_json import from_entries
from rosetta_ref.architectures.aprender_keys import PLACES
from rosetta_ref.architectures.checked import shown
from rosetta_ref.archive import Value
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.apr.metadata import lookup
from rosetta_ref.inference import scaling, windows
from rosetta_ref.inference.architecture import ADJACENT, HALVES, Architecture, NoForwardPassError
from rosetta_ref.inference.keys import Keys, ParameterError
from rosetta_ref.inference.models import by_gguf, by_word
from rosetta_ref.inference.scaling import DEFAULT_THETA, Scaling

#: APR's key for the typed GGUF metadata, and the rows that its rope_type means.
_GGUF_IN_APR = "rosetta.gguf_metadata"
_ROPE_TYPES = {0: ADJACENT, 2: HALVES}
_CAP, _SCALAR = "final_logit_softcapping", "query_pre_attn_scalar"
#: Where config.json names the activation, and what it calls those that there are.
_ACTIVATION_KEYS = ("hidden_act", "hidden_activation")
_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
_GGUF, _CONFIG, _APR = range(3)


class ConflictingParameterError(RosettaError):
    """A file that says a number twice says the same number twice."""


@dataclass(frozen=True)
class Parameters:
    """`groups` is the number of key and value heads, `head` the elements of a head, `inner` the feed-forward size.

    window: how many tokens the layers see that slide, which `sliding` tells for each; nothing where none does. They have a base and
    a scaling of rope of their own. scalar: attention scores are divided by its root; None for the size of a head. cap: logits stay
    below it, by a tanh; None for none.
    """

    architecture: str
    layers: int
    width: int
    inner: int
    heads: int
    groups: int
    head: int
    epsilon: float
    theta: float
    pairing: str
    scaling: Scaling | None = None
    window: int | None = None
    sliding: tuple[bool, ...] = ()
    local_theta: float | None = None
    local_scaling: Scaling | None = None
    scalar: float | None = None
    cap: float | None = None

    def __post_init__(self) -> None:
        if not all(one is None or one > 0 for one in (self.scalar, self.cap)):
            raise ParameterError(f"scores are scaled by the root of {self.scalar}, logits capped at {self.cap}")
        if self.heads % self.groups or self.head % 2:
            raise ParameterError(f"{self.heads} heads on {self.groups}, of {self.head} elements")
        for theta in (self.theta, self.theta if self.local_theta is None else self.local_theta):
            if not theta > 0:
                raise ParameterError(f"the base of rope is {theta}")

    @property
    def queries(self) -> int:
        """Rows of q."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Rows of k, and of v."""
        return self.groups * self.head

    def rope(self, *, sliding: bool) -> tuple[float, Scaling | None]:
        """Base and scaling, of the layers that slide or of the others."""
        return (
            (self.theta, self.scaling)
            if self.local_theta is None or not sliding
            else (self.local_theta, self.local_scaling)
        )

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer sees; None for all of them."""
        return self.window if self.sliding and self.sliding[layer] else None


def _sizes(record: Architecture, keys: Keys, which: int) -> dict[str, Any]:
    """What every format has a key for; heads are as many, and share the width, where nothing else is said."""
    key = {name: three[which] for name, three in record.numbers.items()}
    width, heads = keys.whole(key["width"]), keys.whole(key["heads"])
    return {
        "architecture": record.name,
        "layers": keys.whole(key["layers"]),
        "width": width,
        "inner": keys.whole(key["inner"]),
        "heads": heads,
        "groups": keys.whole(key["groups"], heads),
        "head": keys.whole(key["head"], width // heads),
        "epsilon": keys.real(key["epsilon"]),
    }


def of_gguf(metadata: Mapping[str, Value]) -> Parameters:
    """From GGUF's keys."""
    stated = metadata.get("general.architecture")
    record = by_gguf(stated.plain() if stated is not None else None)
    keys = Keys(metadata, f"{record.name}.", record.gguf)
    if keys.get("expert_count"):
        raise NoForwardPassError(f"{record.name}.expert_count is {shown(keys.get('expert_count'))}")
    sizes = _sizes(record, keys, _GGUF)
    for key in ("rope.dimension_count", "attention.value_length"):
        if keys.whole(key, sizes["head"]) != sizes["head"]:
            raise NoForwardPassError(f"{record.name}.{key} is {keys.get(key)}, and a head has {sizes['head']} elements")
    theta = keys.real(record.numbers["theta"][_GGUF], DEFAULT_THETA)
    return Parameters(**sizes, theta=theta, pairing=record.pairing, **_rest_of_gguf(record, keys, sizes))


def _rest_of_gguf(record: Architecture, keys: Keys, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """What APR has no keys of its own for. Layers that slide are never stretched."""
    found = windows.of_gguf(keys, sizes["layers"])
    local = {"local_theta": keys.real("rope.freq_base_swa", DEFAULT_THETA)} if found.window else {}
    wide = sizes["layers"] in record.width_scaled
    scalar = float(sizes["width"] // sizes["heads"]) if wide else float(sizes["head"])
    return {
        "scaling": scaling.of_gguf(keys),
        **found._asdict(),
        **local,
        "scalar": None if scalar == sizes["head"] else scalar,
        "cap": keys.real(_CAP, 0.0) or None if _CAP in keys.silence else None,
    }


def of_config(config: Mapping[str, Any]) -> Parameters:
    """From config.json; an absent key means what it means to the configuration class of the architecture."""
    stated = config.get("architectures") or [config.get("model_type")]
    if not isinstance(stated, list):
        raise ParameterError(f"architectures is {shown(stated)}")
    record = by_word(stated[0])
    keys = Keys(config, silence=record.config_of(stated[0].lower()))
    _require_activation(record, keys)
    if keys.get("use_bidirectional_attention"):
        raise NoForwardPassError("use_bidirectional_attention is true, and what is computed looks back alone")
    sizes, (rope, local) = _sizes(record, keys, _CONFIG), scaling.ropes_of_config(keys)
    found = windows.within(
        windows.of_config(keys, sizes["layers"]),
        keys.whole("max_position_embeddings"),
        counts="attention.sliding_window" in record.gguf,
    )
    scalar = keys.real(_SCALAR) if _SCALAR in keys.silence else None
    return Parameters(
        **sizes,
        theta=rope.real("rope_theta"),
        pairing=HALVES,
        scaling=scaling.of_config(rope, keys),
        **found._asdict(),
        local_theta=local.real("rope_theta") if found.window else None,
        local_scaling=scaling.of_config(local, keys) if found.window else None,
        scalar=None if scalar == sizes["head"] else scalar,
        cap=keys.real_if_any(_CAP) if _CAP in keys.silence else None,
    )


def _require_activation(record: Architecture, keys: Keys) -> None:
    """A word of config.json for the record's own activation; GGUF has none, since every architecture has one of its own."""
    for key in _ACTIVATION_KEYS:
        stated = keys.get(key)
        if key in keys.silence and (not isinstance(stated, str) or _ACTIVATIONS.get(stated) != record.activation):
            raise NoForwardPassError(f"{key} is {shown(stated)}, and {record.name} has {record.activation}")


def gguf_metadata_of_apr(metadata: Mapping[str, Any]) -> dict[str, Value] | None:
    """The GGUF metadata that an APR file carries; None for a file that carries none."""
    return from_entries(metadata[_GGUF_IN_APR], metadata, PLACES) if _GGUF_IN_APR in metadata else None


def record_of_apr(metadata: Mapping[str, Any]) -> Architecture:
    """The architecture that an APR file names. Raises NoForwardPassError."""
    named = (metadata.get(key) for key in ("architecture", "hf_model_type", "model_type"))
    return by_word(next((word for word in named if word), None))


def of_apr(metadata: Mapping[str, Any]) -> Parameters:
    """From APR's own keys, which are what aprender computes with; rope scaling, which they have none for, from GGUF's.

    Raises ConflictingParameterError where GGUF metadata is carried and says otherwise: two readers of such a file would
    compute two models.
    """
    record = record_of_apr(metadata)
    if lookup(metadata, "num_experts"):
        raise NoForwardPassError(f"num_experts is {shown(lookup(metadata, 'num_experts'))}")
    names = [*(three[_APR] for three in record.numbers.values()), "rope_type"]
    own = {key: value for key in names if (value := lookup(metadata, key)) is not None}
    keys = Keys(own)
    stated = own.get("rope_type", next(n for n, pairing in _ROPE_TYPES.items() if pairing == record.pairing))
    if type(stated) is not int or stated not in _ROPE_TYPES:
        raise NoForwardPassError(f"rope_type is {shown(stated)}")
    carried = gguf_metadata_of_apr(metadata)
    more = {f"{record.name}.{gguf}": lookup(metadata, key) for gguf, key in record.apr.items()}
    more = {**(carried or {}), **{key: value for key, value in more.items() if value is not None}}
    window = record.apr.get("attention.sliding_window")
    if window is not None and carried is None and lookup(metadata, window) is None:
        raise ParameterError(f"neither {window} nor {_GGUF_IN_APR} is there")
    sizes = _sizes(record, keys, _APR)
    found = Parameters(
        **sizes,
        theta=keys.real(record.numbers["theta"][_APR], DEFAULT_THETA),
        pairing=_ROPE_TYPES[stated],
        **_rest_of_gguf(record, Keys(more, f"{record.name}.", record.gguf), sizes),
    )
    if carried is not None:
        _require_agreement(found, of_gguf(carried))
    return found


def _require_agreement(own: Parameters, carried: Parameters) -> None:
    """But for the pairing: which rows stand in the file is for APR's own rope_type to say."""
    for what, value in vars(own).items():
        other = getattr(carried, what)
        if what != "pairing" and value != other:
            raise ConflictingParameterError(f"{what}: APR's own keys say {value}, {_GGUF_IN_APR} says {other}")
