"""Why a conversion is wrong, tensor by tensor: what was done to the data, and the bug of the zoo that does exactly that.

Read `cause` (what is said), `structural` (what the data alone tells, with `change`, `bytewise` and `numeric`), `replay` (what the
members of the zoo make of the same source), `explain` (both together), `failures` (those of a run of the gate). An explanation
gives every element or it is none; a failure without one is "unknown". Nothing here runs while anything else converts or judges:
members are wrong all over the process.
"""

from rosetta_ref.diagnosis.cause import UNKNOWN, Cause, Diagnosis
from rosetta_ref.diagnosis.explain import attach, diagnose
from rosetta_ref.diagnosis.failures import Namer
from rosetta_ref.diagnosis.files import UndiagnosedError

__all__ = ["UNKNOWN", "Cause", "Diagnosis", "Namer", "UndiagnosedError", "attach", "diagnose"]
