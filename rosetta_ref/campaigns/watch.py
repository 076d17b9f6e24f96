"""What a run may use and touch: limits, how they are measured, and pictures of the folders before and after."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has none, and campaigns are not run there
    resource = None  # type: ignore[assignment]

from rosetta_ref.campaigns.case import Case

_MIB = 1 << 20
#: Commands that run models or converters.
SLOW = ("verify", "gate", "zoo", "smoke", "shrink", "replay", "explain")


@dataclass(frozen=True)
class Limits:
    """What one execution may use. Times are seconds of CPU; `blocked` are seconds in which nothing moves.

    The grace is what a worker is given beyond a limit before it is stopped.
    """

    quick: float = 1.0
    slow: float = 10.0
    memory: int = 256 * _MIB
    disk: int = 64 * _MIB
    output: int = 4 * _MIB
    grace: float = 2.0
    blocked: float = 3.0

    def cpu(self, command: str) -> float:
        """Seconds of CPU for a command."""
        return self.slow if command in SLOW else self.quick


@dataclass
class Used:
    """What one execution took."""

    cpu: float = 0.0
    memory: int = 0
    disk: int = 0


def measured(command: str) -> Used:
    """Where the counters stand now: CPU of this process and of its children, ended or not, and resident memory."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() + ended.ru_utime + ended.ru_stime
    if command in SLOW:  # the others start none
        cpu += sum(seconds for _, _, seconds in running_children())
    return Used(cpu, _status(b"VmRSS:"))


def reset_peak() -> None:
    """Forget the highest resident memory so far, where the system lets us."""
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(descriptor, b"5")
        finally:
            os.close(descriptor)


def peak() -> int:
    """The highest resident memory since then, in bytes."""
    return _status(b"VmHWM:")


def _status(name: bytes) -> int:
    try:
        with open("/proc/self/status", "rb") as file:
            line = file.read().partition(name)[2].split(None, 1)
            return int(line[0]) * 1024 if line else 0
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


#: What is known of a path: type and permissions, size, time of change, number, bytes on the disk.
Seen = tuple[int, int, int, int, int]


def picture(root: Path) -> dict[str, Seen]:
    """Everything below a folder; links are not followed."""
    found: dict[str, Seen] = {}
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                name = prefix + entry.name
                is_folder = stat.S_ISDIR(about.st_mode)
                times = 0 if is_folder else about.st_mtime_ns
                found[name] = (
                    about.st_mode,
                    0 if is_folder else about.st_size,
                    times,
                    about.st_ino,
                    about.st_blocks * 512,
                )
                if is_folder:
                    pending.append((entry.path, f"{name}/"))
    return found


@dataclass(frozen=True)
class Change:
    """A path that is new, gone or changed."""

    path: str
    how: str
    nbytes: int = 0


def changes(before: Mapping[str, Seen], after: Mapping[str, Seen]) -> list[Change]:
    """What is different."""
    made = [Change(path, "new", seen[4]) for path, seen in after.items() if path not in before]
    made += [Change(path, "gone") for path in before if path not in after]
    made += [
        Change(path, "changed", seen[4])
        for path, seen in after.items()
        if path in before and before[path][:4] != seen[:4]
    ]
    return sorted(made, key=lambda change: change.path)


#: The names that a Hugging Face model has beside its weights, written down here once more: nothing else may be restored.
BESIDE = frozenset({
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "image_processor_config.json",
    "audio_tokenizer_config.json", "vocab.txt", "spiece.model", "spm.model", "sentencepiece.bpe.model", "source.spm", "target.spm",
    "bpe.codes", "normalizer.json", "tokenizer.model.v3", "tekken.json", "tiktoken.model", "qwen.tiktoken", "params.json",
    "quantize_config.json", "quantization_config.json", "hf_quant_config.json",
    "rosetta", "rosetta/source.json", "rosetta/blocks.safetensors", "additional_chat_templates",
})  # fmt: skip
_WEIGHTS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}\.safetensors(\.index\.json)?")
_TEMPLATE = re.compile(r"additional_chat_templates/[A-Za-z0-9_-]{1,64}\.jinja")


def is_beside(name: str) -> bool:
    """Whether a model may have a file of that name beside its weights."""
    return name in BESIDE or _TEMPLATE.fullmatch(name) is not None


def may_write(case: Case, path: str) -> bool:
    """Whether a command may have written a path of its folder."""
    if any(path == made or path.startswith(f"{made}/") for made in case.made):
        return True
    if case.target is None:
        return False
    if path == case.target:
        return True
    if path.startswith(f"{case.target}/"):
        inside = path[len(case.target) + 1 :]
        return is_beside(inside) or _WEIGHTS.fullmatch(inside) is not None
    folder = case.target.rpartition("/")[0]
    return case.target.endswith(".safetensors") and path.startswith(f"{folder}/") and is_beside(path[len(folder) + 1 :])


@dataclass
class Place:
    """The folders of one worker: `case` is where commands run, `outside` is watched, `tmp` is for temporary files."""

    root: Path
    case: Path = field(init=False)
    outside: Path = field(init=False)
    tmp: Path = field(init=False)

    def __post_init__(self) -> None:
        self.case, self.outside, self.tmp = self.root / "case", self.root / "outside", self.root / "tmp"

    def clear(self) -> None:
        """Empty folders, and the canary as it was."""
        for folder in (self.case, self.outside, self.tmp):
            _emptied(folder)
        for name in ("victim.txt", "folder/inner.txt", "x.py"):
            (self.outside / name).parent.mkdir(exist_ok=True)
            (self.outside / name).write_bytes(b"canary\n")

    def renew(self) -> None:
        """An empty folder for the next case."""
        _emptied(self.case)
        for name in ("in", "out"):
            (self.case / name).mkdir()

    def touched(self) -> bool:
        """Whether the bytes of the canary are others, or gone."""
        try:
            return any(
                (self.outside / name).read_bytes() != b"canary\n" for name in ("victim.txt", "folder/inner.txt", "x.py")
            )
        except OSError:
            return True


def _emptied(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def scratch() -> Path:
    """Where workers have their folders: memory, where the system has such a place."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(os.environ.get("TMPDIR", "/tmp"))


def running_children() -> Iterator[tuple[int, str, float]]:
    """Processes that this one has started and that still run: number, command line, seconds of CPU."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for number in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(OSError, IndexError, ValueError):
                    about = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
                    if about[0] not in "ZX":
                        words = (
                            Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                        )
                        yield number, words, sum(map(int, about[11:15])) / os.sysconf("SC_CLK_TCK")
