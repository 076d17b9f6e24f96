"""What a converter says when it does not convert: the line with the reason, and the end of a Python traceback.

Programs print progress bars, warnings with the source line that gave them, and advice, before and after the reason. None of
those is a reason.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from rosetta_ref.gate.converter.entry import CRASHED, Run

#: Characters of a line that are shown, and lines that are looked at, from the end.
_LONGEST, _MOST = 300, 2000
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)")
#: How a line begins, or goes on behind a date and a name, that says of itself that it is an error.
_MARKED = re.compile(
    r"(?:^|[\s\[(<:|])(?:[\w.]*(?:Error|Exception)|ERROR|FATAL|CRITICAL|error|fatal|critical|Fatal)\b\s*(?:[:\-|\])>]|\[|$)"
    r"|(?:^|\s)(?:ERROR|FATAL|CRITICAL)\s"
)
_LIKE_ERROR = re.compile(
    r"error|exception|fatal|panic|fail|cannot|can't|could ?n[o']t|unable|unsupported|not supported|unknown|invalid|refus|"
    r"malformed|corrupt|truncated|missing|unexpected|not found|no such|too (?:large|short|long|big|small|many|few)|illegal|bad ",
    re.IGNORECASE,
)
_NO_ERROR = re.compile(r"\b(?:0|no|without) (?:errors?|failures?)\b", re.IGNORECASE)
#: Python's own ("x.py:3: UserWarning: ..."), those of loggers, compilers and Rust.
_WARNING = re.compile(
    r"(?:^|[\s\[(<:|])(?:\w*Warning|WARNING|WARN|warning|warn|Warn|INFO|DEBUG|info|debug|note|hint|help)\b\s*(?:[:\-|\])>]|\[)"
)
#: Bars: a share with a bar behind it, a rate, or a line of blocks.
_PROGRESS = re.compile(
    r"\d{1,3}(?:\.\d+)?\s?%\s*[|\[(]|\d\s?(?:it|[kKMG]?i?B|tensors?|layers?|files?)/s\b|\ds/it\b|[█▉▊▋▌▍▎▏━╸╺]{2,}|"
    r"[\[|](?:[#=\-.> ]{6,})[\]|]|\b\d{1,3}(?:\.\d+)?\s?%\s*$"
)
_HEADER = "Traceback (most recent call last)"
#: How programs of other languages fall; they may print a traceback as well.
_FALLS = re.compile(
    r"^thread '[^'\n]*' (?:\(\d+\) )?panicked at|^panic: |^fatal error: |^goroutine \d+ \[running\]|^Fatal Python error: ",
    re.MULTILINE,
)
#: What Python draws beside the frames of a group of exceptions, and the line with the exception, which is not indented.
_BESIDE = re.compile(r"^ *\| ?")
_RAISED = re.compile(r"[^\W\d][\w.]*(?::|$)")


def reason_of(run: Run) -> str:
    """Why a run did not convert, in one line: what an error line says, else the last line that is no warning and no bar.

    The last error line of stderr comes first, then that of stdout; without any line, the run's own detail.
    """
    if (raised := _raised(run.stderr) or _raised(run.stdout)) is not None:
        return _behind(run.stderr) or raised
    streams = [list(_lines(text)) for text in (run.stderr, run.stdout)]
    for wanted in (_MARKED, _LIKE_ERROR):
        for lines in streams:
            found = [line for line in lines if wanted.search(line) and not _NO_ERROR.search(line)]
            if found:
                return found[-1][:_LONGEST]
    return next((lines[-1][:_LONGEST] for lines in streams if lines), run.detail[:_LONGEST])


def traceback_of(run: Run, refuse_exit: Collection[int] = ()) -> str | None:
    """The last line of a Python traceback, of a run that ended with it and with exit 1, or raised within this process.

    None for every other end: a limit, a signal, a code that refuses nothing, a panic of another language beside it.
    """
    if run.outcome != CRASHED or (run.exit_code not in (None, 1) and run.exit_code not in refuse_exit):
        return None
    raised = _raised(run.stderr) or _raised(run.stdout)
    if raised is None or _FALLS.search(run.stderr) or _FALLS.search(run.stdout):
        return None
    # Without an exit code: a limit that was passed is no refusal, whatever was printed before.
    raised_here = run.exit_code is not None or run.detail.startswith(raised)
    return raised if raised_here else None


def named(raised: str, names: Collection[str]) -> bool:
    """Whether the last line of a traceback is of one of those exceptions, by its name with or without the module.

    >>> named("numpy.exceptions.AxisError: axis 2", ["AxisError"]), named("KeyError: 'x'", ["Error"])
    (True, False)
    """
    name = raised.partition(":")[0].strip()
    return name in names or name.rpartition(".")[2] in names


def alike(words: str) -> str:
    """What is left of words for every input: without paths, what stands in quotation marks, and numbers.

    >>> alike("error: /tmp/a.gguf: tensor 'blk.0.attn_q.weight' has 64 elements")
    'error: _ tensor _ has # elements'
    """
    words = re.sub(r"(['\"`])[^'\"`]*\1|[^\s'\"`]*/[^\s'\"`]*|\b[\w-]+(?:\.[\w-]+)+", "_", words[:_LONGEST])
    return re.sub(r"\d+", "#", words)


def _raised(text: str) -> str | None:
    """The line with the exception of the last traceback in a text."""
    _, header, after = text.rpartition(_HEADER)
    if not header:
        return None
    lines = (_BESIDE.sub("", line.rstrip()) for line in _ESCAPES.sub("", after).splitlines()[1:])
    return next((line[:_LONGEST] for line in lines if _RAISED.match(line)), None)


def _behind(text: str) -> str | None:
    """What is said of the error behind a traceback, by a program that printed it and went on."""
    after = text.rpartition(_HEADER)[2]
    marked = [line for line in _lines(after) if _MARKED.search(line)] if after != text else []
    return marked[-1][:_LONGEST] if marked else None


def _lines(text: str) -> Iterator[str]:
    """The lines that may say why: as a terminal shows them in the end, without warnings and bars."""
    warned = False
    for line in text.split("\n")[-_MOST:]:
        shown = _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2][: 4 * _LONGEST])
        # Python prints the line of the source that warned, indented, below its warning.
        source = warned and shown[:1].isspace()
        warned = bool(_WARNING.search(shown)) and not _MARKED.search(shown)
        if shown.strip() and not (source or warned or _PROGRESS.search(shown)):
            yield shown.strip()
