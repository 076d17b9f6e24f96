"""Converters that are wrong on purpose: the reference with one part replaced, one for each bug that really happened.

Read `member` (what a member is, how a part is replaced), then the members by class: `labels`, `lanes`, `scales`, `floats` (and
quantisers), `shapes`, `rows` (heads and values), `names`, `metadata`, `containers` (offsets, cut files, byte order), `sharding`. A
member stands beside its wrong part, the smallest input that shows it and one that hides it; `codecs` and `files` are what these are
made with, `inputs` finds them by name. `adapter` makes a member a converter that the gate can call, `verifiers` are the judges that
are wrong on purpose, and the `canary` is no bug at all, only wrong.
"""

from rosetta_ref.zoo import containers, floats, labels, lanes, metadata, names, rows, scales, shapes, sharding
from rosetta_ref.zoo.member import Member

__all__ = ["MEMBERS", "Member"]

_MODULES = (labels, lanes, scales, floats, containers, sharding, shapes, rows, names, metadata)

#: Every member by its id.
MEMBERS: dict[str, Member] = {member.id: member for module in _MODULES for member in module.MEMBERS}
