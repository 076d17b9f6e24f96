"""What happens around a conversion from outside of it, or in the folder of its target, is neither mistaken for its fault nor missed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rosetta_ref.convert import convert as reference
from rosetta_ref.gate.converter.command import Disk, run
from rosetta_ref.gate.converter.entry import ACCEPTED, Entry, Run
from rosetta_ref.gate.findings import CORROBORATED
from rosetta_ref.gate.inputs.models import Spec, build
from rosetta_ref.gate.run.engine import run as gate
from rosetta_ref.gate.run.workspace import Flaw, Snapshot, Workspace


def sample(name: str = "llama-f32-tied"):  # type: ignore[no-untyped-def]
    return build(name, Spec("llama", 4, 1, 16, 96, layers=1, tied=True), [("F32", "index-coded")], 0)


#: Gates whose cases convert on from what was converted.
LATER = [f"F-CONV-{name}-*" for name in ("RT", "ABA", "COM", "IDEM", "DET", "BE")]


class Notes:
    """The reference, which keeps something beside its input."""

    def __init__(self, name: str) -> None:
        self.entry = Entry("notes", function="none:none", architectures=("llama",), safetensors_as="file")
        self._name = name

    def convert(self, src: Path, dst: Path, *, type: str | None = None) -> Run:  # noqa: A002
        """Convert, and note it."""
        reference(src, dst)
        with (src.parent / self._name.format(src.name)).open("a") as notes:
            notes.write("read\n")
        return Run(ACCEPTED, 0)


@pytest.mark.parametrize("name", ["{}.idx", "{}.json"])
def test_notes_beside_the_input_are_no_fault(name: str) -> None:
    found = gate(Notes(name), samples=[sample()], only=LATER)
    assert len(found) > 4
    assert {(each.case, str(each.findings[:1])) for each in found if each.outcome != CORROBORATED} == set()


def test_what_comes_beside_an_output_that_nobody_has_read_on_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "in.gguf"
    source.write_bytes(b"in")
    with Workspace(tmp_path) as work:
        place = work.place("apr")
        place.dst.write_bytes(b"out")
        left = place.left()
        place.dst.with_suffix(".log").write_text("late")
        assert place.changed(left) is None
        (place.folder / "config.json").write_text("{}")
        assert place.changed(left).kind == "changed-after-exit"  # type: ignore[union-attr]
        place.read_on.set()
        assert place.changed(left) is None
        place.dst.write_bytes(b"tuo!")
        assert place.changed(left).kind == "changed-after-exit"  # type: ignore[union-attr]
        assert Snapshot(source).flaw() is None


# The folder of the target


@pytest.mark.parametrize("how", ["a link", "another folder", "gone"])
def test_a_folder_that_was_replaced_is_not_looked_into(how: str, tmp_path: Path) -> None:
    source = tmp_path / "in.gguf"
    source.write_bytes(b"in")
    with Workspace(tmp_path) as work:
        place = work.place("apr")
        place.dst.write_bytes(b"out")
        left = place.left()
        assert place.flaw(Snapshot(source)) is None
        place.folder.rename(away := tmp_path / "away")
        with (away / place.dst.name).open("r+b") as sparse:
            sparse.truncate(1 << 42)
        if how == "a link":
            place.folder.symlink_to(away)
        elif how == "another folder":
            place.folder.mkdir()
            (place.folder / place.dst.name).write_bytes(b"out")
        assert (
            place.flaw(Snapshot(source))
            == place.changed(left)
            == Flaw("linked", "the folder of the target was replaced")
        )
        assert place.left() == {}


def test_the_limit_of_a_file_cannot_be_raised(tmp_path: Path) -> None:
    look = "import resource; print(*resource.getrlimit(resource.RLIMIT_FSIZE))"
    done = run([sys.executable, "-S", "-c", look], time_limit=20, disk=Disk((tmp_path,), 1 << 20))
    assert done.stdout.split() == ["1048576", "1048576"]
