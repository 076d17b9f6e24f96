"""What a recording consists of: parts, each of which gives items, a name and its content.

Everything is asked of the command line and of public paths, since those stay when modules move: `python -m rosetta_ref.cli`,
`rosetta_ref.convert`, `python -m rosetta_ref.zoo`, and the commands by which generated documents say they were made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.freeze_rounds import GOLDEN, Items, around, by_option, name_of, sources
from tests.support.freeze_words import ROOT, lines_of, plain, plain_file, plain_json
from tests.support.plugin import PLUGIN

DOCUMENTS = ROOT / "docs"
#: Pages that are made of runs, which take from half a minute to minutes.
PAGES_OF_RUNS = ("zoo.md", "kinds.md")
EXAMPLE = ROOT / "examples" / "broken-converter"


@dataclass(frozen=True)
class Part:
    """Some items, whose names begin with that of the part. `record` is given a folder of its own. `long` are minutes."""

    name: str
    record: Callable[[Path], Items]
    long: bool = False


def parts() -> list[Part]:
    """All, those that take longest first."""
    return [
        *(Part(f"long/{name}", partial(_page_of_runs, name), long=True) for name in PAGES_OF_RUNS),
        Part("zoo", _zoo),
        *(Part(f"shrink/{name}", partial(_shrink, name)) for name in SHRUNK),
        Part("gate/reference", _reference),
        Part("gate/gguf-py", partial(_gate, "gguf-py")),
        Part("gate/example", _example),
        Part("gate/pytest", _tests),
        Part("documents", _documents),
        *(Part(f"round/{name_of(source)}", partial(around, source)) for source in sources()),
        Part("options", by_option),
    ]


# -- asking the command line ------------------------------------------------------------------------------------------

#: Names for failures and smallest inputs are looked for as long as there are seconds left, so on a busy machine fewer are found.
#: For these commands a second lasts as long as twenty.
_PATIENT = """
import runpy, time
real = time.monotonic
time.monotonic = lambda: real() / 20
runpy.run_module("rosetta_ref.cli", run_name="__main__", alter_sys=True)
"""


def ask(work: Path, *words: str | Path, codes: Iterable[int] = (0,), **environment: str) -> str:
    """What `rosetta-ref` prints. Raises AssertionError where it ends otherwise."""
    return _run(work, [sys.executable, "-c", _PATIENT, *map(str, words)], codes, environment)


def _run(work: Path, words: list[str], codes: Iterable[int], environment: Mapping[str, str]) -> str:
    temporary = work / "tmp"
    temporary.mkdir(exist_ok=True)
    # Tables are as wide as the terminal, and what else is said may hang on where it is said.
    elsewhere = ("PYTEST", "ROSETTA_", "GITHUB", "CI", "FORCE_COLOR", "TTY_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(elsewhere)}
    places = {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        words, cwd=work, env={**kept, **places, "OPENBLAS_NUM_THREADS": "1", **environment}, capture_output=True,
        encoding="utf-8", timeout=3600, check=False,
    )  # fmt: skip
    if done.returncode not in codes:
        raise AssertionError(f"{shlex.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def folder_of(path: Path, name: str) -> Items:
    """Every file below a folder: bytes as they are, but reports and evidence made plain."""
    made: Items = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            data, item = file.read_bytes(), f"{name}/{file.relative_to(path).as_posix()}"
            made[item] = plain_file(file.name)(data.decode()) if _is_a_report(file.relative_to(path)) else data
    return made


def _is_a_report(file: Path) -> bool:
    """Whether a file says something about a run; below `input` and `actual` are models."""
    return file.suffix in (".json", ".md") and not {"input", "actual"} & set(file.parts)


# -- (a) the gate ------------------------------------------------------------------------------------------------------


def _gate(name: str, work: Path, *words: str | Path, codes: Iterable[int] = (0,), item: str | None = None) -> Items:
    """A run on one seed: result.json by gate, and what else it writes and prints."""
    out, place = work / "gate", f"gate/{item or name}"
    printed = ask(
        work, "gate", "--converter", name, "--seed", "0", "--jobs", "1", "--output", "gate", *words, codes=codes
    )
    result = plain_json((out / "result.json").read_text("utf-8"))
    by_gate: dict[str, list[Any]] = {}
    for case in result.pop("cases"):
        by_gate.setdefault(case["gate"], []).append(case)
    (out / "result.json").unlink()
    return {
        f"{place}/result.json": lines_of(result),
        **{f"{place}/cases/{gate}.json": lines_of(cases) for gate, cases in by_gate.items()},
        f"{place}/printed.txt": plain(printed),
        **folder_of(out, place),
    }


def _reference(work: Path) -> Items:
    """The reference; and every file that it is given in such a run, and that it makes of it."""
    made = _gate("reference", work, "--no-reproductions")
    entry = json.loads(ask(work, "gate", "--converter", "reference", "--json", "--case", "F-CONV-001/metadata/*"))
    claims = entry["converter"]
    notes, copyist = work / "notes.jsonl", Path(__file__).with_name("freeze_copyist.py")
    words = [f"--pairs={','.join(claims['pairs'])}", f"--quantises={','.join(claims['quantises'])}", "--lossless"]
    ask(work, "gate", "--converter", f"{copyist}:convert", "--jobs", "1", "--no-reproductions", "--quiet", *words,
        "--architectures", ",".join(claims["architectures"]), "--safetensors-as", claims["safetensors_as"],
        FREEZE_NOTES=str(notes), FREEZE_FUNCTION=claims["function"])  # fmt: skip
    # In which order pairs are asked is nobody's business.
    lines = {json.dumps(plain_json(line), sort_keys=True) for line in notes.read_text("utf-8").splitlines()}
    return {**made, "gate/reference/conversions.jsonl": "\n".join(sorted(lines)) + "\n"}


def _example(work: Path) -> Items:
    """A converter with unexpected failures, the reproductions that they leave, and the expectations that are drafted."""
    shutil.copy(EXAMPLE / "convert.py", work)
    cases = ("F-CONV-003/llama-mix/*", "F-CONV-003/legacy/*", "F-CONV-*/G-S/llama-mix", "F-CONV-SAFE-001/gguf/*")
    claims = ("--pairs", "G-S", "--types", "F32,F16,Q4_0", "--safetensors-as", "file")
    asked = [*claims, *(f"--case={case}" for case in cases)]
    made = _gate("convert.py:convert", work, *asked, codes=(1,), item="example")
    drafted = ("--write-expectations", "draft.yaml", "--no-reproductions", "--quiet")
    ask(work, "gate", "--converter", "convert.py:convert", "--jobs", "1", *asked, *drafted, codes=(1,))
    return {**made, "gate/example/draft.yaml": plain((work / "draft.yaml").read_text("utf-8"))}


def _tests(work: Path) -> Items:
    """The cases as tests of pytest, in their order, for who asks so."""
    words = [*PLUGIN, "-p", "no:cacheprovider", "--pyargs", "rosetta_ref.gate", "--converter", "reference"]
    printed = _run(work, [sys.executable, "-m", "pytest", *words, "--collect-only", "-q"], (0,), {})
    return {"gate/pytest": "".join(f"{line.partition('::')[2]}\n" for line in printed.splitlines() if "::" in line)}


# -- (b) the zoo -------------------------------------------------------------------------------------------------------


def _zoo(work: Path) -> Items:
    """The kill matrix on one seed: what kills each member first."""
    matrix = plain_json(ask(work, "zoo", "--seeds", "1", "--seed", "0", "--jobs", "1", "--json"))
    members = matrix.pop("members")
    made: Items = {f"zoo/members/{member['id']}.json": lines_of(member) for member in members}
    return {"zoo/matrix.json": lines_of({**matrix, "members": [member["id"] for member in members]}), **made}


def _page_of_runs(name: str, work: Path) -> Items:
    page = (DOCUMENTS / name).read_text("utf-8")
    return {f"long/{name}": plain(_run(work, _how_made(page), (0,), {}))}


# -- (c) the documents -------------------------------------------------------------------------------------------------

_MADE = re.compile(r"Generated by `python ([^`>]+) > docs/")


def _how_made(page: str) -> list[str]:
    """The command that a document names."""
    found = _MADE.search(page)
    assert found is not None
    return [sys.executable, *(str(ROOT / word) if word.endswith(".py") else word for word in found[1].split())]


def _documents(work: Path) -> Items:
    """The generated documents as they stand and as they are made; of those written by hand the tables that tests compare."""
    made: Items = {}
    for path in sorted(DOCUMENTS.glob("*.md")):
        page = path.read_text("utf-8")
        if _MADE.search(page) is None:
            tables = [table for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE) if table.startswith(TABLES)]
            if tables:
                made[f"documents/tables/{path.name}"] = plain("\n".join(tables))
            continue
        made[f"documents/kept/{path.name}"] = plain(page)
        if path.name not in PAGES_OF_RUNS:
            made[f"documents/made/{path.name}"] = plain(_run(work, _how_made(page), (0,), {}))
    for schema in sorted((ROOT / "rosetta_ref").rglob("*.schema.json")):
        made[f"documents/schemas/{schema.name}"] = schema.read_text("utf-8")
    return made


#: First rows of the tables of docs/security.md, docs/gate.md and docs/shrink.md that tests hold against the code.
TABLES = (
    "| limit ", "| name ", "| kind of fault ", "| command | executions ", "| field ", "| gate ", "| outcome ", "| it says ",
)  # fmt: skip


# -- (e) the smallest inputs -------------------------------------------------------------------------------------------

_MEMBER = f"{shlex.quote(sys.executable)} -m rosetta_ref.zoo {{}} {{{{src}}}} {{{{dst}}}}"
_Q4_K_M = GOLDEN / "apr-rosetta" / "source" / "llama-q4km.gguf"
#: By name: a converter, its input, the format it is converted to, and further words.
SHRUNK: dict[str, tuple[str, Path, str, tuple[str, ...]]] = {
    "values": (_MEMBER.format("k-scales-bit-stream"), _Q4_K_M, "safetensors", ("--safetensors-as", "file")),
    "model": (
        _MEMBER.format("k-permuted-as-q"), GOLDEN / "convert-hf" / "llama-yarn" / "hf", "gguf", ("--safetensors-as", "directory"),
    ),
    "malformed": ("gguf-py", _Q4_K_M, "safetensors", ()),
}  # fmt: skip


def _shrink(name: str, work: Path) -> Items:
    """The folder that is left, and how it is explained."""
    converter, source, target, words = SHRUNK[name]
    if source.is_dir():
        shutil.copytree(source, work / source.name)
    else:
        data = source.read_bytes()
        (work / source.name).write_bytes(overlapping(data) if name == "malformed" else data)
    asked = (source.name, "--converter", converter, "--to", target, "--jobs", "1", "--output", "left", "--json", *words)
    printed = ask(work, "shrink", *asked)
    (folder,) = (work / "left").iterdir()
    return {
        f"shrink/{name}/printed.json": lines_of(plain_json(printed)),
        f"shrink/{name}/explained.txt": plain(ask(work, "explain", folder.relative_to(work))),
        **folder_of(folder, f"shrink/{name}/{folder.name}"),
    }


def overlapping(data: bytes) -> bytes:
    """A GGUF file in which a tensor begins where the first one does."""
    name = b"blk.0.attn_v.weight"
    place = data.index(name) + len(name) + 4 + 2 * 8 + 4  # how many dimensions, two of them, the type
    assert data[place : place + 8] != bytes(8)
    return data[:place] + bytes(8) + data[place + 8 :]
