"""A folder that a reduction left, below a folder called `failures`, as a test: it passes when the converter is fixed.

Which converter is meant: the entry of the folder's converter in the rosetta.toml or pyproject.toml above `failures`, or the only
entry that there is; else a bundled converter of that name. A command that stands in a folder alone is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosetta_ref.errors import SHOWN, RosettaError, safe_line
from rosetta_ref.gate.converter import bundled, named
from rosetta_ref.gate.converter.entry import Converter
from rosetta_ref.gate.converter.named import UnknownConverterError
from rosetta_ref.reduce.folder.expected import Expected, load
from rosetta_ref.reduce.folder.replay import FIXED, replay

#: Characters of the name of a converter that are looked at.
_LONGEST = 200


class Failure(pytest.File):
    """The expected.json of a folder."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test, named after the folder."""
        yield Replay.from_parent(self, name=self.path.parent.name)


class Replay(pytest.Item):
    """The folder's input, converted once more."""

    def runtest(self) -> None:
        """Fail with what is still wrong."""
        __tracebackhide__ = True
        said = self._said()
        if said is not None:
            pytest.fail(said, pytrace=False)

    def _said(self) -> str | None:
        """What is wrong; None where nothing is."""
        folder = self.path.parent
        try:
            found = replay(folder, converter_of(load(folder), folder, self.config.rootpath))
        except (RosettaError, OSError) as error:
            return safe_line(str(error))
        if found.word == FIXED:
            return None
        words = (f"{found.word}: {found.detail}", str(found.expected.fingerprint), f"read {folder / 'report.md'}")
        return "\n".join(safe_line(each, SHOWN) for each in words)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it stands."""
        return self.path, None, f"replay: {self.name}"


def converter_of(expected: Expected, folder: Path, root: Path | None = None) -> Converter:
    """The converter that is to be fixed; `root` is that of the project. Raises UnknownConverterError, and what making it raises."""
    # Above `failures`: a rosetta.toml in a folder is a stranger's, as its commands are.
    known = named.find_entries(folder.absolute().parents[1], root)
    name = str(expected.converter.get("name"))[:_LONGEST]
    if name in known or (name in bundled.NAMES and not known):
        return named.made(known[name] if name in known else bundled.entry(name))
    if len(known) == 1:
        return named.made(next(iter(known.values())))
    there = f"the entries are {', '.join(known)}" if known else "there is no entry"
    key = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)
    hint = f"Give it an entry in rosetta.toml, [converters.{key}], or in pyproject.toml, [tool.rosetta-ref.converters.{key}]"
    raise UnknownConverterError(f"no converter {name!r} to replay with: {there}", hint=hint)
