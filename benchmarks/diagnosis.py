"""Does a wrong output get the name of its bug? `python benchmarks/diagnosis.py`.

The diagnosis matrix as Markdown: what each member of the zoo makes of its smallest input is shown to all members, and to the search
for structure; a row is a bug, with what it was named and how long that took. A declared equivalent is one that writes the very
same. The outputs of the reference on the same inputs must get no name. Exit 1 where a bug has another name than its own, or what is
right has one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rosetta_ref.diagnosis import diagnose
from rosetta_ref.errors import RosettaError
from rosetta_ref.gate.pairs import LETTERS
from rosetta_ref.zoo import MEMBERS, Member
from rosetta_ref.zoo.inputs import smallest
from rosetta_ref.zoo.member import is_model

SUFFIXES = {"gguf": ".gguf", "apr": ".apr", "safetensors": ""}
OWN, EQUIVALENT, OTHER = "itself", "equivalent", "other"


def main() -> int:
    print("| bug | pair | named | as | seconds |")
    print("| --- | --- | --- | --- | ---: |")
    verdicts, seconds, accused = [], [], []
    for member in MEMBERS.values():
        if member.waiting_for is not None:
            continue
        with tempfile.TemporaryDirectory(prefix="rosetta-diagnosis-") as folder:
            source = smallest(member.id, Path(folder) / "given")
            took, names = _names(member, source, Path(folder) / "wrong", wrong=True)
            if _names(member, source, Path(folder) / "right", wrong=False)[1]:
                accused.append(member.id)
        verdict = OWN if names == {member.id} else EQUIVALENT if names and names <= member.alike.keys() else OTHER
        verdicts.append(verdict)
        seconds.append(took)
        print(f"| {member.id} | {member.pairs[0]} | {verdict} | {', '.join(sorted(names)) or 'unknown'} | {took:.2f} |")
    counted = ", ".join(f"{verdicts.count(kind)} as {kind}" for kind in (OWN, EQUIVALENT, OTHER))
    print(f"\n{len(verdicts)} bugs: {counted}; median {median(seconds):.2f} s, most {max(seconds):.2f} s; "
          f"names for what the reference writes: {len(accused)}")  # fmt: skip
    return int(OTHER in verdicts or bool(accused))


def _names(member: Member, source: Path, folder: Path, *, wrong: bool) -> tuple[float, set[str]]:
    """How long it took, and all that was said."""
    folder.mkdir()
    kind = LETTERS[member.pairs[0][-1]]
    output = folder / ("out.safetensors" if kind == "safetensors" and not is_model(source) else f"out{SUFFIXES[kind]}")
    try:
        member.convert(source, output, wrong=wrong)
    except RosettaError:
        if wrong:
            raise
        return 0.0, set()  # it refuses what must be refused
    began = time.perf_counter()
    found = diagnose(source, output, asked=member.asks)
    return time.perf_counter() - began, {cause.id for one in found for cause in one.causes}


if __name__ == "__main__":
    sys.exit(main())
