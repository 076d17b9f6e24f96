"""A file that somebody cuts, appends to or writes into while it is read: a declared error that names it, and no signal.

Each case runs in a process of its own: what is tested for is that it does not end by SIGBUS.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import crafted

#: More than any buffer of a reader: what comes late has not been read before.
COUNT = 1 << 20
NUMBERS = struct.pack("<f", 0.5) * COUNT
FILES = {
    ".gguf": lambda: crafted.gguf(
        [crafted.string("general.architecture", "x")],
        [crafted.entry("a", [COUNT], 0, 0), crafted.entry("b", [COUNT], 0, 4 * COUNT)],
        NUMBERS + NUMBERS,
    ),
    ".apr": lambda: crafted.apr(
        {}, [("a", 0, [COUNT], 0, 4 * COUNT), ("b", 0, [COUNT], 4 * COUNT, 4 * COUNT)], NUMBERS + NUMBERS
    ),
    ".safetensors": lambda: crafted.safetensors(
        {
            "a": {"dtype": "F32", "shape": [COUNT], "data_offsets": [0, 4 * COUNT]},
            "b": {"dtype": "F32", "shape": [COUNT], "data_offsets": [4 * COUNT, 8 * COUNT]},
        },
        NUMBERS + NUMBERS,
    ),
}
CHANGES = {
    "cut": "os.truncate(path, os.path.getsize(path) // 4)",
    "emptied": "os.truncate(path, 0)",
    "longer": "open(path, 'ab').write(b'more')",
    "written into": "f = open(path, 'r+b'); f.seek(-100, 2); f.write(b'x'); f.close(); os.utime(path, (1, 1))",
}
USES = {
    "read": "archive.tensors['b'].data",
    "values": "archive.tensors['b'].values()",
    "validate": "validate(archive)",
    "compare": "compare(archive, archive)",
    "block": "block_of(archive, 'b', 1000)",
}
SCRIPT = """
    import os, sys
    from pathlib import Path
    from rosetta_ref.archive import FileChangedError
    from rosetta_ref.compare import compare
    from rosetta_ref.formats.detect import open_archive
    from rosetta_ref.inspect import block_of
    from rosetta_ref.validate import validate
    path = Path(sys.argv[1])
    with open_archive(path) as archive:
        {change}
        for use in {uses!r}:
            try:
                eval(use)
            except FileChangedError as error:
                assert error.file == path, error
                assert str(path) in str(error)
            else:
                raise SystemExit(use + ": nothing was seen")
    print("seen")
"""
CONVERTING = """
    import os, sys
    from pathlib import Path
    from rosetta_ref import convert
    from rosetta_ref.archive import FileChangedError
    path, target = Path(sys.argv[1]), Path(sys.argv[2])
    class Progress:
        def total(self, nbytes, what):
            if what == {when!r}:
                {change}
        def advance(self, nbytes):
            pass
    try:
        convert(path, target, keep_names=True, progress=Progress())
    except FileChangedError as error:
        assert error.file == path, error
        print("seen")
"""


def ran(script: str, *arguments: Path) -> str:
    """What a process prints; it has to end well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-2000:])
    return done.stdout.strip()


@pytest.mark.parametrize("change", ["cut", *(pytest.param(c, marks=pytest.mark.slow) for c in CHANGES if c != "cut")])
@pytest.mark.parametrize("suffix", FILES)
def test_an_open_file_that_changes(suffix: str, change: str, tmp_path: Path) -> None:
    path = tmp_path / ("m" + suffix)
    path.write_bytes(FILES[suffix]())
    assert ran(SCRIPT.format(change=CHANGES[change], uses=list(USES.values())), path) == "seen"


@pytest.mark.parametrize(
    ("suffix", "when", "change"),
    [
        (".gguf", "writing", "cut"),
        (".safetensors", "checking", "cut"),
        *(
            pytest.param(suffix, when, change, marks=pytest.mark.slow)
            for suffix in FILES
            for when in ("writing", "checking")
            for change in CHANGES
        ),
    ],
)
def test_a_source_that_changes_while_it_is_converted(suffix: str, when: str, change: str, tmp_path: Path) -> None:
    """Nothing is left of the target."""
    path, target = tmp_path / ("m" + suffix), tmp_path / ("o.gguf" if suffix == ".apr" else "o.apr")
    path.write_bytes(FILES[suffix]())
    assert ran(CONVERTING.format(when=when, change=CHANGES[change]), path, target) == "seen"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_source_is_named_and_no_other(tmp_path: Path) -> None:
    """Of two files that are compared, the one that was cut."""
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(FILES[".gguf"]())
    script = """
        import os, sys
        from pathlib import Path
        from rosetta_ref.archive import FileChangedError
        from rosetta_ref.compare import compare
        from rosetta_ref.formats.detect import open_archive
        first, second = map(Path, sys.argv[1:])
        with open_archive(first) as a, open_archive(second) as b:
            os.truncate(second, 1 << 20)
            try:
                compare(a, b)
            except FileChangedError as error:
                print(Path(error.file).name)
    """
    assert ran(script, tmp_path / "a.gguf", tmp_path / "b.gguf") == "b.gguf"
