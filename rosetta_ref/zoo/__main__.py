"""`python -m rosetta_ref.zoo MEMBER SRC DST [TYPE]`: a member as a command, for whoever calls converters in a process each."""

from __future__ import annotations

import sys
from pathlib import Path

from rosetta_ref.zoo import MEMBERS
from rosetta_ref.zoo.adapter import converter


def main(arguments: list[str]) -> int:
    """Exit codes are those of a converter: 0 it converted, 1 it refused, 2 it was asked wrongly; a crash ends in its traceback."""
    if len(arguments) not in (3, 4) or arguments[0] not in MEMBERS:
        sys.stderr.write(
            "usage: python -m rosetta_ref.zoo MEMBER SRC DST [TYPE]\nmembers: " + ", ".join(MEMBERS) + "\n"
        )
        return 2
    member, source, target, *asked = arguments
    run = converter(MEMBERS[member]).convert(Path(source), Path(target), type=asked[0] if asked else None)
    sys.stdout.write(run.stdout)
    sys.stderr.write(run.stderr)
    return 3 if run.exit_code is None else run.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
