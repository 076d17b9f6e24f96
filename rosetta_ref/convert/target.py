"""From the canonical model to what is written: an archive of the target format and the files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rosetta_ref import foreign
from rosetta_ref.architectures import aprender, huggingface
from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.convert import extras, losses, originals
from rosetta_ref.convert.agreement import disagreement
from rosetta_ref.convert.encoding import Encoding, OptionError
from rosetta_ref.convert.exact import exact_type, survives
from rosetta_ref.convert.policy import Action, has_apr_code, require, rule_for
from rosetta_ref.convert.record import Directory, few, left_out_tensor
from rosetta_ref.convert.repack import repacked
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats import safetensors
from rosetta_ref.formats.registry import of
from rosetta_ref.quant import TYPES, BlockType, libggml
from rosetta_ref.recode import decoded
from rosetta_ref.streaming import value_chunks

_DTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
_FLOATS = ("F32", "F16", "BF16", "F64")


@dataclass
class Plan:
    """What is to be written.

    `origins` maps the names of tensors whose numbers are converted to the tensors they come from, in the same element
    order; `actions` says by name what happens to each tensor; `layout` is how a directory is cut into shards; `keep` says whether
    `rosetta/` is written, and `rounded` which tensors of the model do not come back by the inverse of what is done to them.
    """

    archive: Archive
    files: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, Tensor] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    layout: list[safetensors.Shard] = field(default_factory=list)
    hf_names: dict[str, str] = field(default_factory=dict)
    exact: bool = True
    keep: bool = False
    rounded: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_gguf(model: Archive, *, wanted: Encoding | None) -> Plan:
    """Every type that ggml knows is carried."""
    plan = Plan(Archive("gguf", dict(model.metadata), {}, model.path))
    _recode_all(plan, model, "gguf", wanted=wanted)
    return plan


def plan_apr(model: Archive, *, wanted: Encoding | None, native: bool, keep_names: bool, extra_keys: bool) -> Plan:
    """Types without a code of APR's are carried as bytes, or decoded with `native`."""
    shaped = Archive("gguf", dict(model.metadata), {}, model.path)
    plan = Plan(shaped)
    _recode_all(plan, model, "apr", wanted=wanted, native=native)
    foreign = [name for name, tensor in shaped.tensors.items() if not has_apr_code(tensor.type)]
    if foreign:
        plan.notes.append(
            f"apr cannot compute with {len(foreign)} tensors (no code for their type); --apr-native decodes them"
        )
    plan.archive = aprender.to_apr(shaped, keep_names=keep_names, extra=extra_keys)
    plan.notes += losses.of_apr(model, plan.archive, extra_keys=extra_keys)
    names = dict(zip(shaped.tensors, aprender.apr_names(shaped, keep_names=keep_names), strict=True))
    plan.origins = {
        names[name]: tensor for name, tensor in plan.origins.items() if plan.archive.tensors[names[name]].source
    }
    return plan


def _recode_all(plan: Plan, model: Archive, target: str, *, wanted: Encoding | None, native: bool = False) -> None:
    kinds: dict[str, str] = {}
    if wanted is not None:
        _require_place(TYPES[wanted.mix.type], target)
        kinds = wanted.types(model)
        for kind in sorted({kind for name, kind in kinds.items() if kind != model.tensors[name].type.name}):
            _require_place(TYPES[kind], target)
        plan.archive.metadata = wanted.metadata(plan.archive.metadata)
    for name, tensor in model.tensors.items():
        kind = kinds.get(name, tensor.type.name)
        if wanted is not None and kind != tensor.type.name:
            made = wanted.encoded(tensor, kind)
            rule = rule_for(made.type, target, 0)
            if rule.action is Action.REPACKED:
                made = repacked(made, rule.type)
            plan.actions[name] = Action.ENCODED
            plan.origins[name] = tensor
        else:
            rule = rule_for(tensor.type, target, tensor.shape[-1] if tensor.shape else 1, apr_native=native)
            require(rule, tensor, target)
            plan.actions[name] = rule.action
            if rule.action is Action.CARRIED:
                made = tensor
            else:
                made = (repacked if rule.action is Action.REPACKED else decoded)(tensor, rule.type)
                plan.origins[name] = tensor
        plan.archive.tensors[name] = made
    foreign = sum(t.type.encode is None and name in plan.origins for name, t in plan.archive.tensors.items())
    if foreign:
        plan.notes.append(f"{foreign} tensors were encoded by {libggml.name()}, not by this package")
    plan.notes += wanted.notes() if wanted is not None else []


def _require_place(kind: BlockType, target: str) -> None:
    """Raise OptionError where no tensor of a model may become that type, whatever the encoder makes of one."""
    integer = kind.is_scalar and kind.name not in _FLOATS
    if integer or (kind.id is None and of(target).only_ggml_types):
        why = "would round weights to integers" if integer else f"has no place in {target}"
        raise OptionError(f"--type: {kind.name} {why}")


def plan_safetensors(
    model: Archive, *, dtype: str, keep_blocks: bool, keep_names: bool, max_shard_size: int, file_name: str | None
) -> Plan:
    """Blocks are decoded; a remembered directory comes back as it was."""
    notes: list[str] = []
    files: dict[str, bytes] = {}
    if keep_names:
        shaped, names = replace(model, format="safetensors", metadata={}), {name: name for name in model.tensors}
    else:
        shaped, files = huggingface.to_huggingface(model)
        notes += shaped.notes
        names = huggingface.hf_names(model)
    remembered = _remembered(model, None if keep_names else shaped, notes)
    plan = Plan(Archive("safetensors", {"format": "pt"}, {}, model.path), files, hf_names=names, notes=notes)
    if remembered is not None and dtype == "exact" and _as_remembered(plan, model, shaped, remembered, file_name):
        notes += losses.of_remembered(model, remembered)
        _note_files(plan)
        return plan
    plan.keep = keep_blocks
    plan.rounded = [] if keep_names else originals.rounded(model)
    if plan.rounded and not keep_blocks:
        notes.append(f"without rosetta/, the way back rounds {few(plan.rounded)}")
    if remembered is not None:
        plan.files = _without_indexes(remembered.files)
        losses.of_weights(remembered, notes, kept=keep_blocks)
    _decode_all(plan, shaped, dtype)
    if not keep_blocks:
        notes += losses.of_directory(model, plan.archive, plan.files, keep_names=keep_names)
    plan.layout = (
        [safetensors.Shard(file_name, tuple(plan.archive.tensors), plan.archive.metadata)]
        if file_name is not None
        else safetensors.plan_shards(plan.archive, max_shard_size)
    )
    _note_files(plan)
    return plan


def _remembered(model: Archive, weights: Archive | None, notes: list[str]) -> Directory | None:
    """The remembered directory, where its files say what the model says: else a note says what they do not."""
    directory = extras.recall(model, notes)
    odd = None if directory is None else disagreement(model, weights, directory.files)
    if directory is None or odd is None:
        return directory
    behind = extras.left_behind(directory.files)
    notes.append(f"the stored Hugging Face files do not say what the model says ({odd}): {behind}")
    return None


def _note_files(plan: Plan) -> None:
    if plan.files:
        plan.notes.append(f"files written beside the weights: {few(plan.files, len(plan.files))}")


def _without_indexes(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.endswith(".index.json")}


def _decode_all(plan: Plan, shaped: Archive, dtype: str) -> None:
    if dtype != "exact" and dtype not in _DTYPES:
        raise OptionError(f"--dtype {dtype} is none of exact, f32, f16, bf16")
    floats = [
        t for t in shaped.tensors.values() if t.type.decode is not None and t.type.name not in ("F64", *_INTEGERS)
    ]
    wanted = exact_type(floats) if dtype == "exact" else _DTYPES[dtype]
    plan.exact = dtype == "exact"
    for name, tensor in shaped.tensors.items():
        rule = rule_for(tensor.type, "safetensors", 0, float_type=wanted)
        require(rule, tensor, "safetensors")
        recast = tensor.type.name in ("F32", "F16", "BF16") and tensor.type.name != wanted
        if rule.action is Action.CARRIED and not recast:
            plan.archive.tensors[name] = tensor
            plan.actions[name] = Action.CARRIED
        else:
            plan.archive.tensors[name] = decoded(tensor, wanted)
            plan.origins[name] = tensor
            plan.actions[name] = Action.DECODED
    plan.archive.metadata = {"format": "pt"}


_INTEGERS = ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")


def _as_remembered(plan: Plan, model: Archive, shaped: Archive, directory: Directory, file_name: str | None) -> bool:
    """Plan the very directory the model came from, where every tensor still has its bits; False where one has not."""
    tensors: dict[str, Tensor] = {}
    types = directory.types
    for name, kind in types.items():
        if name in directory.left_out:
            continue
        tensor, original = shaped.tensors.get(name), (directory.originals or {}).get(name)
        if tensor is not None and original is not None:
            tensor = originals.whole(name, original, tensor, model)
        if tensor is None or not _restorable(tensor, kind):
            plan.notes.append(f"{name} is no longer as it was in the Hugging Face directory: written anew")
            return False
        tensors[name] = tensor if tensor.type.name == kind else decoded(tensor, kind)
    if strangers := set(shaped.tensors) - set(tensors):
        plan.notes.append(f"the Hugging Face directory had no {few(strangers)}: written anew")
        return False
    for name, record in directory.left_out.items():
        tensors[name] = left_out_tensor(name, record, tensors)
    plan.archive.tensors = {name: tensors[name] for name in types}
    plan.files = dict(directory.files)
    plan.layout = [safetensors.Shard(s["file"], tuple(s["tensors"]), s["metadata"]) for s in directory.shards]
    plan.archive.metadata = dict(directory.shards[0]["metadata"] or {})
    plan.actions = dict.fromkeys(tensors, Action.RESTORED)
    if file_name is not None:
        plan.files = _without_indexes(plan.files)
        plan.archive.metadata = directory.header(plan.notes)
        plan.layout = [safetensors.Shard(file_name, tuple(plan.archive.tensors), plan.archive.metadata)]
    _require_own_index(plan)
    return True


def _require_own_index(plan: Plan) -> None:
    """Leave out a remembered index that is not one of these very files and tensors: the writer makes it anew."""
    for name in [name for name in plan.files if name.endswith(".index.json")]:
        problem = _index_problem(plan.files[name], plan)
        if problem is not None:
            del plan.files[name]
            plan.notes.append(f"the remembered {name} is not that of these files: {problem}")


def _index_problem(data: bytes, plan: Plan) -> str | None:
    try:
        said = foreign.json_object(data).get("weight_map")
    except RosettaError as error:
        return error.problem
    planned = {name: shard.file_name for shard in plan.layout for name in shard.names}
    return None if said == planned else "it names other ones"


def _restorable(tensor: Tensor, kind: str) -> bool:
    if tensor.type.name == kind:
        return True
    if tensor.type.name != "F32" or kind not in ("F16", "BF16"):
        return False
    return all(survives(values, kind) for _, values in value_chunks(tensor))
