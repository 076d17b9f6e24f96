"""A member as the gate wants a converter: an entry, and calls that end in a `Run` and never raise."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from rosetta_ref.architectures.names import ARCHITECTURES
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.converter.entry import ACCEPTED, CRASHED, REFUSED, Converter, Entry, Run
from rosetta_ref.gate.pairs import PAIRS
from rosetta_ref.quant import TYPES
from rosetta_ref.zoo.member import Member


@dataclass
class MemberConverter:
    """A member as a `Converter`. With `wrong=False` it is the control: the reference, told what the member is told.

    A case kills a member only where the control passes it.
    """

    member: Member
    wrong: bool = True
    entry: Entry = field(init=False)

    def __post_init__(self) -> None:
        self.entry = entry_of(self.member, wrong=self.wrong)

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """One conversion in this process."""
        began = time.perf_counter()
        try:
            report = self.member.convert(src, dst, wrong=self.wrong, type=type)
        except (RosettaError, OSError) as error:
            return Run(REFUSED, 1, stderr=str(error), seconds=time.perf_counter() - began, detail=repr(error))
        except Exception as error:  # noqa: BLE001 - whatever a wrong part does is a result, not an error of the caller
            said = traceback.format_exc()
            return Run(CRASHED, None, stderr=said, seconds=time.perf_counter() - began, detail=repr(error))
        return Run(ACCEPTED, 0, "\n".join(report.lines()), seconds=time.perf_counter() - began)


def entry_of(member: Member, *, wrong: bool = True) -> Entry:
    """What a member says of itself: all that the reference can do, but that blocks are not kept, so chains are not lossless.

    One that asks for blocks unasked says so: it is to fall for its bug, not for that.
    """
    asks = member.asks
    return Entry(
        name=f"zoo:{member.id}" if wrong else f"zoo:{member.id} control",
        pairs=(*PAIRS, "G-G") if "G-G" in member.pairs else PAIRS,
        architectures=tuple(ARCHITECTURES),
        quantises=(asks,) if asks is not None else (),
        quantises_on=("G-G",),
        loses=("lossy-unasked",) if asks is not None and not TYPES[asks].is_scalar else (),
    )


def converter(member: Member) -> Converter:
    """The member as a converter under test."""
    return MemberConverter(member)


def control(member: Member) -> Converter:
    """The reference under the member's options."""
    return MemberConverter(member, wrong=False)
