"""What `--type`, `--pure` and `--imatrix` ask for, put to a model: the type of every tensor, its weights, the keys that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.architectures import mix_table, mixes
from rosetta_ref.archive import Archive, Tensor, Value
from rosetta_ref.convert.imatrix import ForeignImatrixError, Imatrix, MissingImportanceError, read_imatrix
from rosetta_ref.errors import RosettaError
from rosetta_ref.quant import TYPES
from rosetta_ref.quant.block import Floats
from rosetta_ref.recode import encoded


class OptionError(RosettaError):
    """An option has one of its values, and goes with the target."""


@dataclass(frozen=True)
class Encoding:
    """A mix, and the importance matrix that tensors are weighted with."""

    mix: mix_table.Mix
    imatrix: Imatrix | None = None
    unweighted: list[str] = field(default_factory=list)

    def types(self, model: Archive) -> dict[str, str]:
        """The type of every tensor of a model, by name.

        Raises the errors of `mixes.types_of`, ForeignImatrixError and MissingImportanceError.
        """
        if self.imatrix is not None and not self.imatrix.weights.keys() & model.tensors.keys():
            raise ForeignImatrixError(
                f"none of its {len(self.imatrix.weights)} entries is a tensor of {model.path}", file=self.imatrix.path
            )
        weighted = self.imatrix is not None
        found = mixes.types_of(self.mix, model.tensors.values(), model.metadata, weighted=weighted)
        for name, kind in found.items():
            tensor = model.tensors[name]
            if kind != tensor.type.name and mixes.needs_weights(self.mix, name, kind) and self._weights(tensor) is None:
                hint = "The matrix has no entry for it." if weighted else "--imatrix FILE gives it one."
                raise MissingImportanceError(
                    f"{kind} is refused without weights", file=tensor.file, tensor=name, hint=hint
                )
        return found

    def encoded(self, tensor: Tensor, kind: str) -> Tensor:
        """The tensor in that type, weighted where there are weights for it."""
        weights = self._weights(tensor)
        if weights is None and self.imatrix is not None and not TYPES[kind].is_scalar:
            self.unweighted.append(tensor.name)
        return encoded(tensor, kind, weights)

    def metadata(self, metadata: Mapping[str, Value]) -> dict[str, Value]:
        """A model's metadata with the keys that describe the encoding."""
        made = mixes.described(self.mix, metadata)
        return made | (self.imatrix.keys() if self.imatrix is not None else {})

    def notes(self) -> list[str]:
        """What the user of an importance matrix wants to know."""
        if not self.unweighted:
            return []
        some = ", ".join(sorted(self.unweighted)[:3]) + (", ..." if len(self.unweighted) > 3 else "")
        return [f"{len(self.unweighted)} tensors have no entry in the importance matrix: {some}"]

    def _weights(self, tensor: Tensor) -> Floats | None:
        return None if self.imatrix is None else self.imatrix.of(tensor)


def encoding_of(name: str | None, *, pure: bool = False, imatrix: str | Path | None = None) -> Encoding | None:
    """What is asked for; None where nothing is. Raises OptionError, and the errors of `read_imatrix`."""
    if name is None:
        if pure or imatrix is not None:
            raise OptionError(f"{'--pure' if pure else '--imatrix'} goes with --type")
        return None
    mix = mix_table.find(name, pure=pure)
    if mix is None:
        raise OptionError(f"--type {name} is not a type", hint=f"Known: {', '.join(mix_table.names())}.")
    return Encoding(mix, None if imatrix is None else read_imatrix(imatrix))
