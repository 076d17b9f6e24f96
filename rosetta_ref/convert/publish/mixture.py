"""What a target's folder holds besides the new model, and a reader would take for a part of it.

Files are put in place one by one where a directory has to stay the one it is. So the reader's own choice is asked, before anything
is written, with the names that will be there then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rosetta_ref.beside import require_inside
from rosetta_ref.convert.companions import is_weights, present
from rosetta_ref.convert.publish.names import INDEX_SUFFIX, LOADED, is_file_or_link, is_index, listed
from rosetta_ref.convert.record import few
from rosetta_ref.errors import RosettaError
from rosetta_ref.formats.safetensors import chosen, read_index

_HINT = "Remove them, or take another folder."


class MixedModelError(RosettaError):
    """What stands in the folder of a target is not read together with the new model, and not replaced for being called alike."""


def weights_there(folder: Path) -> list[str]:
    """The weights of the model that a directory holds, as the reader chooses them, and their index.

    None where there is no config.json, or no weights, or not those of one model. An adapter is somebody else's.
    """
    if not is_file_or_link(folder / "config.json"):
        return []
    try:
        found = chosen(listed(folder), lambda index: _named_by(folder, index), folder)
        if is_index(found[0]):
            found += _named_by(folder, found[0])
    except RosettaError:
        return []
    ours = [name for name in found if is_index(name) or (is_weights(name) and not name.startswith("adapter_"))]
    return [name for name in ours if is_file_or_link(folder / name)]


def _named_by(folder: Path, index: str) -> list[str]:
    require_inside(folder / index, folder)
    return read_index(folder / index).files


def refuse_mixture(target: Path, names: Sequence[str], gone: Collection[str], *, directory: bool) -> None:
    """Raise MixedModelError where the new model would not be what is read, or weights that are no part of the old one be replaced.

    `names` are the files to be written, in the directory or beside and as the file; `gone` are those to be removed.
    """
    if directory:
        _refuse_replacing(target, names)
        _refuse_other_weights(target, names, gone)
    elif target.suffix.lower() == ".safetensors":
        odd = sorted(set(present(target.parent)) - set(names) - set(gone))
        if odd:
            raise MixedModelError(
                f"{few(odd)} would be read with the new weights", file=target.parent / odd[0], hint=_HINT
            )
        _refuse_shard(target)


def _refuse_shard(target: Path) -> None:
    """An index beside a file that names it is what is read in its place, with the other files of that model."""
    for index in listed(target.parent):
        if not index.endswith(INDEX_SUFFIX):
            continue
        try:
            named = target.name in _named_by(target.parent, index)
        except RosettaError:  # nor would the new model be read
            named = True
        if named:
            problem = f"{index} names the target as a part of another model, or cannot be read"
            raise MixedModelError(problem, file=target.parent / index, hint=_HINT)


def _refuse_replacing(target: Path, names: Iterable[str]) -> None:
    """A model may say how its files are called: not so that it chooses which files of the user's are replaced."""
    there = set(listed(target))
    odd = {name for name in names if is_weights(name) and name in there and not LOADED.fullmatch(name)}
    if odd and (odd := odd - set(weights_there(target))):
        raise MixedModelError(
            f"{few(odd)} is no part of the model in this directory, and would be replaced by a file of that name",
            file=target, hint=_HINT,
        )  # fmt: skip


def _refuse_other_weights(target: Path, names: Sequence[str], gone: Collection[str]) -> None:
    ours = {name for name in names if is_weights(name)}
    after = (set(listed(target)) - set(gone)) | set(names)

    def named_by(index: str) -> Iterable[str]:
        return ours if index in names else _named_by(target, index)

    try:
        found = set(chosen((name for name in after if "/" not in name), named_by, target))
    except RosettaError:
        found = set()
    if found == ours or (found and all(is_index(name) and name in names for name in found)):
        return
    odd = [name for name in after - set(names) if name.endswith((".safetensors", INDEX_SUFFIX))]
    raise MixedModelError(f"other weights stand there: {few(odd)}", file=target, hint=_HINT)
