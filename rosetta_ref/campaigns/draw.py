"""From a number to an execution: the command, valid files of the seeds, and what is broken in them. The same for ever."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import PurePath

from rosetta_ref.campaigns import records
from rosetta_ref.campaigns.case import Case, Node
from rosetta_ref.campaigns.mutate import files as forms
from rosetta_ref.campaigns.mutate import mutate, stacked
from rosetta_ref.campaigns.seeds import Seed, all_seeds, of_format
from rosetta_ref.formats.registry import FORMATS, by_suffix, of

Files = dict[str, Node]
_TARGETS = ("out/t.gguf", "out/t.apr", "out/t.safetensors", "out/t")

#: How often each command is run, of 100,000 executions: what runs models or converters takes a thousand times as long.
WEIGHTS = {
    "inspect": 20_000, "validate": 16_000, "convert": 36_100, "diff": 13_000, "score": 6_000, "compare": 6_000, "explain": 1_700,
    "replay": 780, "verify": 150, "shrink": 60, "gate": 160, "smoke": 20, "zoo": 30,
}  # fmt: skip


def draw(seed: int, number: int, only: str | None = None) -> Case:
    """The execution of that number."""
    rng = random.Random(f"{seed}/{number}")
    command = only or rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    return _COMMANDS[command](rng)


def _model(
    rng: random.Random, place: str, seed: Seed | None = None, *, broken: bool = True
) -> tuple[str, Files, list[str]]:
    """A model under `in/`, broken in a place or two: what is named on the command line, the files, what was done."""
    seed = seed or rng.choice(of_format(*FORMATS))
    base = f"in/{place}/" if seed.main == "." or len(seed.files) > 1 else f"in/{place}-"
    files: Files = {base + name: data for name, data in seed.files.items()}
    labels = [seed.name]
    main = base[:-1] if seed.main == "." else base + seed.main
    if broken:
        labels += _break(rng, files, base, seed)
        if of(seed.format).has_companions and rng.random() < 0.15:
            labels += forms.beside(rng, files, base)
    if seed.main == "." and rng.random() < 0.15:
        within = [name for name in seed.files if name.endswith((".safetensors", ".index.json")) and "/" not in name]
        main = base + rng.choice(within)
    return main, files, labels


def _break(rng: random.Random, files: Files, base: str, seed: Seed) -> list[str]:
    """Mutate one file, now and then two."""
    names = [name for name in seed.files if not name.startswith("rosetta/") or name in seed.likely]
    labels = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        name = rng.choice(seed.likely) if seed.likely and rng.random() < 0.5 else rng.choice(names)
        data = files.get(base + name)
        if isinstance(data, bytes):
            files[base + name], done = stacked(rng, name, data)
            labels += done
    return labels


def _flags(rng: random.Random, *flags: str, often: float = 0.15) -> list[str]:
    return [word for flag in flags if rng.random() < often for word in flag.split(" ")]


def _inspect(rng: random.Random) -> Case:
    main, files, labels = _model(rng, "m")
    words = ["inspect", main, *_flags(rng, "--lenient", often=0.3), *_flags(rng, "--json", often=0.4)]
    if rng.random() < 0.25:
        tensor = rng.choice(
            ("token_embd.weight", "t.Q4_K", "blk.0.attn_q.weight", "model.norm.weight", "one", "x\n::error::y")
        )
        words += [f"--tensor={tensor}", *_flags(rng, f"--block={rng.choice((0, 1, -1, 10**6, 2**63))}", often=0.5)]
    return Case(words, files, labels)


def _validate(rng: random.Random) -> Case:
    main, files, labels = _model(rng, "m")
    return Case(["validate", main, *_flags(rng, "--lenient", "--json", "--quiet", often=0.3)], files, labels)


def _diff(rng: random.Random) -> Case:
    seed = rng.choice(of_format(*FORMATS))
    a, files, labels = _model(rng, "a", seed, broken=rng.random() < 0.7)
    b, others, more = _model(rng, "b", seed if rng.random() < 0.7 else None)
    words = ["diff", a, b, *_flags(rng, "--lenient", "--json", "--as-stored", "--no-metadata", "--quiet", often=0.2)]
    return Case(words, files | others, labels + more)


def _convert(rng: random.Random) -> Case:
    seed = rng.choice(of_format(*FORMATS))
    main, files, labels = _model(rng, "m", seed)
    others = [target for target in _TARGETS if by_suffix(PurePath(target)).name != seed.format]
    target = rng.choice(others if rng.random() < 0.95 else _TARGETS)
    words = [
        "convert",
        main,
        target,
        *_flags(rng, "--no-extra-keys", "--keep-names", "--no-keep-blocks", "--json", "--quiet"),
    ]
    words += _flags(rng, "--lenient", "--force", often=0.25)
    if target in ("out/t", "out/t.safetensors"):
        words += _flags(rng, f"--dtype={rng.choice(('exact', 'f32', 'f16', 'bf16'))}", "--max-shard-size=3000")
    else:
        words += _flags(rng, f"--type={rng.choice(('q8_0', 'q4_k_m', 'f16', 'q4_0'))}", often=0.08)
        if rng.random() < 0.06:
            data, more = stacked(rng, "i.gguf", all_seeds()["imatrix"].files["i.gguf"])
            files["in/i.gguf"], labels = data, [*labels, "imatrix", *more]
            words += (
                ["--imatrix=in/i.gguf", "--type=q8_0"] if "--type" not in " ".join(words) else ["--imatrix=in/i.gguf"]
            )
        words += _flags(rng, "--pure") if "--type" in " ".join(words) else []
        words += _flags(rng, "--apr-native") if target.endswith(".apr") else []
    made: tuple[str, ...] = ()
    if rng.random() < 0.08:
        words, made = [*words, "--checksums=out/sums.json"], ("out/sums.json",)
    if rng.random() < 0.2:
        labels += forms.before(rng, files, target)
    return Case(words, files, labels, target, made)


def _verify(rng: random.Random) -> Case:
    pair = rng.choice(
        (
            ("gguf-llama", "apr-of-gguf-llama"),
            ("hf-llama", "gguf-of-hf-llama"),
            ("hf-spm", "hf-spm"),
            ("gguf-qwen2", "gguf-qwen2"),
        )
    )
    seeds = [all_seeds()[name] for name in pair]
    which = rng.randrange(2)
    a, files, labels = _model(rng, "a", seeds[0], broken=which == 0)
    b, others, more = _model(rng, "b", seeds[1], broken=which == 1)
    words = [
        "verify",
        a,
        b,
        "-n",
        "2",
        f"--prompt={rng.choice(('x', 'a b', ''))}",
        *_flags(rng, "--json", "--no-blame"),
    ]
    return Case(words, files | others, labels + more)


def _score(rng: random.Random) -> Case:
    data, labels = stacked(rng, "e.json", records.EVIDENCE)
    return Case(
        ["score", "in/e.json", *_flags(rng, "--json", often=0.4)],
        {"in/e.json": data} | forms.odd(rng, "in/e.json"),
        ["evidence", *labels],
    )


def _compare(rng: random.Random) -> Case:
    old, labels = stacked(rng, "r.json", records.RESULT)
    new, more = stacked(rng, "r.json", records.RESULT) if rng.random() < 0.5 else (records.RESULT, [])
    names = ["in/old.json", "in/new.json"]
    if rng.random() < 0.5:
        names.reverse()
    return Case(
        ["compare", *names, *_flags(rng, "--json", often=0.4)],
        {"in/old.json": old, "in/new.json": new},
        ["result", *labels, *more],
    )


def _folder(rng: random.Random) -> tuple[Files, list[str]]:
    """A folder of shrink; in half of the cases expected.json knows the new digests."""
    files: Files = {f"in/f/{name}": data for name, data in records.folder().items()}
    labels = ["folder"]
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(["in/f/expected.json", *files])
        data = files[name]
        if isinstance(data, bytes):
            files[name], done = stacked(rng, name, data)
            labels += done
    if rng.random() < 0.6:
        records.redigest(files)
    if rng.random() < 0.05:
        labels += forms.beside(rng, files, "in/f/")
    return files, labels


def _explain(rng: random.Random) -> Case:
    files, labels = _folder(rng)
    return Case(["explain", "in/f"], files, labels)


def _converter(rng: random.Random) -> tuple[list[str], Files, list[str]]:
    """A converter that returns at once: it copies what was prepared, broken; by itself or through an entry of a TOML file."""
    files: Files = {"in/c.py": records.CONVERTER}
    labels = []
    for name, source in (
        ("o.gguf", "gguf-bare"),
        ("o.apr", "apr-of-gguf-bare"),
        ("o.safetensors", "safetensors-plain"),
    ):
        seed = all_seeds()[source]
        files[f"in/{name}"], done = stacked(rng, name, seed.files[seed.main])
        labels += done[:1]
    folder = rng.choice((all_seeds()["hf-kept-bare"], all_seeds()["hf-llama"]))
    files |= {f"in/o/{name}": data for name, data in folder.files.items()}
    labels += _break(rng, files, "in/o/", folder)
    if rng.random() < 0.5:
        return ["--converter=in/c.py:convert"], files, labels
    words, more, done = _entries(rng)
    return words, files | more, labels + done


def _entries(rng: random.Random) -> tuple[list[str], Files, list[str]]:
    """An entry of a TOML file that is named, or found in the folder, and expectations beside it: one of them broken, or both."""
    files: Files = {"in/c.py": records.CONVERTER}
    found = rng.random() < 0.3
    where, labels = ("rosetta.toml", ["toml/found"]) if found else ("in/x.toml", [])
    texts = {where: records.ENTRIES, "in/e.yaml": records.EXPECTATIONS}
    if found:
        texts[where] = records.ENTRIES.replace(b"c.py", b"in/c.py").replace(b"e.yaml", b"in/e.yaml")
    broken = rng.choice((where, "in/e.yaml", "both"))
    for name, text in texts.items():
        files[name] = text
        if broken in (name, "both"):
            files[name], how = mutate(rng, name, text)
            labels.append(how)
    return (
        [*([] if found else ["--config=in/x.toml"]), f"--converter={rng.choice(('c', 'c', 'c', 'reference', 'x'))}"],
        files,
        labels,
    )


def _gate(rng: random.Random) -> Case:
    if rng.random() < 0.85:  # what is read before anything is run; the cases of no name are none
        words, files, labels = _entries(rng)
        return Case(["gate", *words, "--jobs=1", "--no-reproductions", "--case=none/*"], files, labels)
    words, files, labels = _converter(rng)
    case = rng.choice((
        f"F-CONV-00{rng.randrange(1, 7)}/floats/f32/*", *(f"F-CONV-{gate}-001/*/llama-f32-tied" for gate in ("META", "CARD",
         "NAME", "ABA", "BE", "DET")),
    ))  # fmt: skip
    flags = ["--jobs=1", "--no-reproductions", f"--case={case}", *_flags(rng, "--json", "--quiet", often=0.3)]
    flags += ["--output=out/g"] if rng.random() < 0.5 else []
    return Case(["gate", *words, *flags], files, labels, made=("out/g", "out"))


def _smoke(rng: random.Random) -> Case:
    words, files, labels = _converter(rng)
    return Case(["smoke", *words, *_flags(rng, "--json")], files, labels)


def _zoo(rng: random.Random) -> Case:
    """The zoo reads nothing of others but the names of its members."""
    from rosetta_ref.campaigns.mutate import junk

    name = junk.name(rng).replace("\0", "").encode("utf-8", "replace").decode()
    return Case(["zoo", "--seeds=1", "--jobs=1", "--", f"no-{name}"], {}, ["zoo/member"])


def _shrink(rng: random.Random) -> Case:
    words, files, labels = _converter(rng)
    seed = all_seeds()[rng.choice(("gguf-bare", "apr-of-gguf-bare", "hf-kept-bare"))]
    main, more, done = _model(rng, "m", seed, broken=rng.random() < 0.6)
    to = rng.choice([name for name in FORMATS if name != seed.format])
    flags = [f"--to={to}", "--max-calls=6", "--max-seconds=2", "--jobs=1", "--output=out", *_flags(rng, "--json")]
    return Case(["shrink", main, *words, *flags], files | more, labels + done, made=("out",))


def _replay(rng: random.Random) -> Case:
    if rng.random() < 0.6:
        words, files, labels = _entries(rng)
        return Case(["replay", "in/none", *words], files, labels)
    files, labels = _folder(rng)
    words, more, done = _converter(rng)
    keep = _flags(rng, "--keep=out/kept")
    return Case(
        ["replay", "in/f", *words, *keep, *_flags(rng, "--json")], files | more, labels + done, made=("out/kept",)
    )


_COMMANDS: Mapping[str, Callable[[random.Random], Case]] = {
    "inspect": _inspect, "validate": _validate, "convert": _convert, "diff": _diff, "score": _score, "compare": _compare,
    "explain": _explain, "replay": _replay, "verify": _verify, "shrink": _shrink, "gate": _gate, "smoke": _smoke, "zoo": _zoo,
}  # fmt: skip
