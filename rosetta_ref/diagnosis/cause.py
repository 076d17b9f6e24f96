"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import dataclass

from rosetta_ref.zoo import Member

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cause:
    """One thing that was done to the data. `alike` are members of the zoo that do the very same to it."""

    id: str
    text: str
    link: str | None = None
    alike: tuple[str, ...] = ()


#: What no search and no member of the zoo explains in full.
NOT_KNOWN = Cause(UNKNOWN, "nothing that is known here gives exactly these values")


def cause_of(member: Member, alike: tuple[str, ...] = ()) -> Cause:
    """The bug of a member of the zoo."""
    return Cause(member.id, f"exactly what {member.id} gives: {member.does}; {member.origin}", member.link, alike)


@dataclass(frozen=True)
class Diagnosis:
    """Tensors by canonical name, and facts of the metadata in the judge's words, that are wrong for the same causes.

    Several causes hold one after the other; together they explain every element, unless the last one is unknown.
    """

    tensors: tuple[str, ...]
    causes: tuple[Cause, ...]
    facts: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether everything is explained."""
        return all(cause.id != UNKNOWN for cause in self.causes)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the causes."""
        return tuple(cause.id for cause in self.causes)

    def __str__(self) -> str:
        said = ", and ".join(cause.text + (f" ({cause.link})" if cause.link else "") for cause in self.causes)
        return f"{', '.join(self.tensors + self.facts)}: {said}"
