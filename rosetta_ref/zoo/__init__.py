"""Converters that are wrong on purpose: the reference with one part replaced, one for each bug that really happened.

Read `member` (what a member is), `seams` (which parts may be replaced), then the members by class: `labels`, `lanes`, `scales`,
`floats` (and quantisers), `shapes`, `rows` (heads and values), `names`, `metadata` and `words`, `containers` (offsets, cut files,
byte order), `sharding`. A member stands beside its wrong part, the smallest input that shows it and one that hides it; `codecs` and
`files` are what these are made with, `inputs` finds them by name. `adapter` makes a member a converter that the gate can call,
`verifiers` are the judges that are wrong on purpose, which `comparators` puts into the gate, and the `canary` is no bug at all,
only wrong.

Whether the gate sees all that, in `trial`: `matrix` is one member on one seed, `tally` all of them, `document` the page about them.
"""

from rosetta_ref.zoo.member import Member
from rosetta_ref.zoo.members import (
    containers,
    floats,
    labels,
    lanes,
    metadata,
    names,
    rows,
    scales,
    shapes,
    sharding,
    words,
)

__all__ = ["MEMBERS", "Member"]

_MODULES = (labels, lanes, scales, floats, containers, sharding, shapes, rows, names, metadata, words)

#: Every member by its id.
MEMBERS: dict[str, Member] = {member.id: member for module in _MODULES for member in module.MEMBERS}
