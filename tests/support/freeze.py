"""A recording of what must not change while code moves, and what differs from an older one.

    python -m tests.support.freeze                              # record, compare with freeze.json; exit 1 where something differs
    python -m tests.support.freeze --out NEW                    # record into a folder: every item as text, and NEW/freeze.json
    python -m tests.support.freeze --out NEW --compare OLD      # and compare with an older folder, line by line
    python -m tests.support.freeze --recorded NEW --compare OLD # compare two folders, and record nothing
    python -m tests.support.freeze --only 'gate/*'              # some parts: gate/*, zoo, documents, round/*, options, shrink/*

freeze.json has the sha256 of each item; to see what is behind a difference, record the commit before (`git worktree add`) into a
folder, too. Where something changes on purpose, NEW/freeze.json takes the place of the one beside this file, and the commit says
why. `freeze_parts.py` says what is recorded, `freeze_words.py` what is left out of it.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from tests.support.freeze_parts import Part, parts
from tests.support.freeze_rounds import Items

KEPT = Path(__file__).with_name("freeze.json")
#: Of these another release may write or say something else; a comparison tells where they differ.
LIBRARIES = ("numpy", "gguf", "safetensors", "tokenizers", "jinja2", "pyyaml", "rich", "llama-cpp-python")
#: Lines of a difference that are printed; the folders have the rest.
SHOWN = 60
#: Items that differ, of which a line is printed.
LISTED = 200


def record(chosen: Sequence[Part], jobs: int = 1) -> Items:
    """The items of some parts, in the order of their names. The folders that they need go again."""

    def one(part: Part) -> Items:
        work, began = Path(tempfile.mkdtemp(prefix="freeze-")), time.monotonic()
        try:
            made = part.record(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        strangers = [name for name in made if not of_part(name, part)]
        assert made, f"{part.name}: it has no item"
        assert not strangers, f"{part.name}: it does not begin the name of {strangers[0]}"
        print(f"{part.name}: {len(made)} items, {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        return made

    with ThreadPoolExecutor(jobs) as pool:
        made = [item for items in pool.map(one, chosen) for item in items.items()]
    return dict(sorted(made))


def of_part(name: str, part: Part) -> bool:
    """Whether an item is one of that part."""
    return name == part.name or name.startswith(f"{part.name}/")


def digests(items: Items) -> dict[str, str]:
    """The sha256 of each."""
    return {name: hashlib.sha256(_bytes(content)).hexdigest() for name, content in items.items()}


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content


def keep(items: Items, folder: Path) -> None:
    """Write each item below a folder, which is made anew, and freeze.json."""
    if folder.exists() and any(folder.iterdir()) and not (folder / KEPT.name).is_file():
        raise SystemExit(f"{folder} holds something else than a recording")
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in items.items():
        place = folder / "items" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_bytes(content))
    written = {"libraries": libraries(), "items": digests(items)}
    (folder / KEPT.name).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def libraries() -> dict[str, str]:
    """What is installed, by name."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def load(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of a recording, and the libraries it was made with; of a folder or of its freeze.json."""
    read = json.loads((path / KEPT.name if path.is_dir() else path).read_text("utf-8"))
    return read["items"], read["libraries"]


def differences(old: Mapping[str, str], new: Mapping[str, str], chosen: Iterable[Part]) -> dict[str, str]:
    """Items of some parts that are changed, new or gone, by name."""
    chosen, made = list(chosen), {}
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name) and any(of_part(name, part) for part in chosen):
            made[name] = "new" if name not in old else "gone" if name not in new else "changed"
    return made


def explained(name: str, old: Path, new: Path) -> list[str]:
    """What differs in an item of two folders, as a unified diff, where both are text."""
    places = old / "items" / name, new / "items" / name
    try:
        texts = [place.read_text("utf-8") if place.exists() else "" for place in places]
    except UnicodeDecodeError:
        return ["  bytes differ"]
    lines = list(difflib.unified_diff(*(text.splitlines() for text in texts), "old", "new", n=1, lineterm=""))
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"... and {len(lines) - SHOWN} lines: diff {places[0]} {places[1]}"]
    return [f"  {line}" for line in lines]


def report(found: Mapping[str, str], old: Path, new: Path | None, installed: Sequence[Mapping[str, str]]) -> None:
    """Print what differs, and where both are folders, the lines; and which libraries, `installed` then and now, have changed."""
    for number, (name, word) in enumerate(found.items()):
        if number == LISTED:
            print(f"... and {len(found) - LISTED} items")
            break
        print(f"{word}: {name}")
        if new is not None and old.is_dir():
            print("\n".join(explained(name, old, new)))
    for library in dict.fromkeys([*installed[0], *installed[1]]) if found else ():
        versions = [one.get(library, "none") for one in installed]
        if versions[0] != versions[1]:
            print(f"note: {library} was {versions[0]}, and is {versions[1]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to put what is recorded")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE_OR_DIR", help="an older one (default: freeze.json, if no --out)"
    )
    parser.add_argument("--recorded", type=Path, metavar="DIR", help="compare this folder, and record nothing")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="parts that match; may be repeated")
    parser.add_argument(
        "--long", action="store_true", help="also what takes minutes: docs/zoo.md and docs/kinds.md made anew"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="parts at once (default 2)")
    return parser.parse_args()


def main() -> int:
    """0 where nothing differs, 1 where something does."""
    asked = _arguments()
    patterns = asked.only or ["*"]
    named = [part for part in parts() if any(fnmatchcase(part.name, one) for one in patterns)]
    chosen = [part for part in named if asked.long or not part.long]
    if not chosen:
        raise SystemExit("no part has such a name")
    folder = asked.recorded or asked.out
    if asked.recorded is None:
        items = record(chosen, asked.jobs)
        if folder is not None:
            keep(items, folder)
        new, installed = digests(items), libraries()
    else:
        new, installed = load(folder)
    old_path = asked.compare or (None if asked.out else KEPT)
    if old_path is None:
        print(f"{len(new)} items in {folder}")
        return 0
    old, were = load(old_path)
    found = differences(old, new, chosen)
    report(found, old_path, folder, [were, installed])
    print(f"{len(found)} of {len(new)} items differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
