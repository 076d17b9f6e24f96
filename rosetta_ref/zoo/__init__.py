"""Converters that are wrong on purpose: the reference with one part replaced, one for each bug that really happened.

Read `member` (what a member is, how a part is replaced), then the members by class: `labels`, `lanes`, `scales`, `floats`. `codecs`
and `files` are their tools: wrong codecs, small inputs. `adapter` makes a member a converter that the gate can call.
"""

from rosetta_ref.zoo import containers, floats, labels, lanes, metadata, names, rows, scales, shapes, sharding
from rosetta_ref.zoo.member import Member

__all__ = ["MEMBERS", "Member"]

_MODULES = (labels, lanes, scales, floats, containers, sharding, shapes, rows, names, metadata)

#: Every member by its id.
MEMBERS: dict[str, Member] = {member.id: member for module in _MODULES for member in module.MEMBERS}
