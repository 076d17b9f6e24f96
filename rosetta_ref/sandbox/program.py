"""What runs in the other process: it answers one request after the other until its input ends. Nothing imports this module.

A message is a length of 8 bytes, big-endian, and JSON; a tokenizer.json comes as its bytes, behind the request that loads it. A
reply has one of `value`, `again` (load it first), `refused` (why the library did not take it), `limit` (which one was passed) and
`missing` (a library), and `cpu`, the seconds of CPU time that it took. The kernel ends the process where those pass the limit: it
need not wait for Python, which Rust or one long operation may keep from running.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself takes a tenth of the start
    from collections.abc import Callable
    from typing import Any, BinaryIO

#: Loaded tokenizers by digest, and the bytes that they were loaded from; the oldest goes where there are too many.
_loaded: dict[str, tuple[Any, int]] = {}
_MOST, _MOST_BYTES = 8, 128 << 20
#: Characters of what a library says of a file.
_SAID = 1000
#: Address space of a process whose own is not to be had.
_UNKNOWN_SIZE = 1 << 30


class OverLimitError(Exception):
    """More text or tokens than the caller takes."""


def main() -> None:
    """Answer until the input ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    # The directories of the libraries come last: nothing that lies in them shadows a module of Python's own.
    sys.path += sys.argv[1:]
    if hasattr(os, "set_blocking"):  # not on Windows
        os.set_blocking(2, False)  # what a library has to say is never waited for
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the default ends the process
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (message := _message(source)) is not None:
        request = json.loads(message)
        blob = _message(source) if request["do"] == "load" else b""
        reply = json.dumps(_answered(request, blob or b"")).encode("ascii")
        target.write(struct.pack(">Q", len(reply)) + reply)
        target.flush()


def _message(source: BinaryIO) -> bytes | None:
    head = source.read(8)
    if len(head) < 8:
        return None
    (size,) = struct.unpack(">Q", head)
    data = source.read(size)
    return data if len(data) == size else None


def _answered(request: dict[str, Any], blob: bytes) -> dict[str, Any]:
    do, began = request["do"], time.process_time()
    if do in ("encode", "decode", "vocabulary") and request["key"] not in _loaded:
        return {"again": True, "cpu": 0}
    try:
        library = _library(do)
    except ImportError as error:
        return {"missing": "jinja2" if do == "render" else "tokenizers", "why": str(error)[:_SAID], "cpu": 0}
    try:
        _limit(request["seconds"], request["bytes"])
        reply = {"value": _DO[do](library, request, blob)}
    except MemoryError:
        reply = {"limit": "memory"}
    except RecursionError:
        reply = {"limit": "recursion"}
    except OverLimitError as error:
        reply = {"limit": str(error)}
    except BaseException as error:  # noqa: BLE001 (a panic of Rust is no Exception)
        reply = {"refused": _words(error)}
    finally:
        _limit(0, None)
    if "value" not in reply:
        _loaded.pop(request.get("key", ""), None)  # who knows what state it is in
    return {**reply, "cpu": time.process_time() - began}


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_SAID]
    except Exception:  # noqa: BLE001 (an error whose words cannot be had)
        return type(error).__name__


def _library(do: str) -> Any:
    if do == "render":
        import jinja2.ext
        import jinja2.sandbox

        return jinja2
    import tokenizers

    return tokenizers


def _limit(seconds: float, nbytes: int | None) -> None:
    """CPU seconds from now on, and bytes of memory beyond what the process has; 0 and None lift both."""
    if hasattr(signal, "ITIMER_PROF"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
    if resource is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = hard if nbytes is None else _size() + nbytes
    if resource.RLIM_INFINITY not in (hard, most):
        most = min(most, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    except (OSError, ValueError):
        return  # macOS takes none below what it has mapped


def _size() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return _UNKNOWN_SIZE


def _load(tokenizers: Any, request: dict[str, Any], blob: bytes) -> None:
    made = tokenizers.Tokenizer.from_str(blob.decode("utf-8"))
    made.no_truncation()
    made.no_padding()
    while _loaded and (len(_loaded) >= _MOST or sum(size for _, size in _loaded.values()) + len(blob) > _MOST_BYTES):
        del _loaded[next(iter(_loaded))]
    _loaded[request["key"]] = made, len(blob)


def _encode(_: Any, request: dict[str, Any], blob: bytes) -> list[list[int]]:
    tokenizer = _loaded[request["key"]][0]
    batch = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)  # the same ids, without offsets
    ids = [one.ids for one in batch(request["texts"], add_special_tokens=request["special"])]
    _require_short(sum(map(len, ids)), request["most"], "tokens")
    return ids


def _decode(_: Any, request: dict[str, Any], blob: bytes) -> list[str]:
    tokenizer, texts, total = _loaded[request["key"]][0], [], 0
    for tokens in request["ids"]:
        texts.append(tokenizer.decode(tokens, skip_special_tokens=False))
        total += len(texts[-1])
        _require_short(total, request["most"], "characters")
    return texts


def _vocabulary(_: Any, request: dict[str, Any], blob: bytes) -> dict[str, int]:
    found: dict[str, int] = _loaded[request["key"]][0].get_vocab(with_added_tokens=True)
    return found


def _render(jinja2: Any, request: dict[str, Any], blob: bytes) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise
    environment.filters["tojson"] = _as_json
    messages = [{"role": "user", "content": request["question"]}]
    made = environment.from_string(request["template"]).render(
        messages=messages, add_generation_prompt=True, **request["named"]
    )
    _require_short(len(made), request["most"], "characters")
    made.encode()  # half a surrogate pair is no text
    return str(made)


def _as_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """As transformers has it; json.dumps takes functions, too, which would run outside of Jinja's sandbox."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise ValueError(message)


def _require_short(amount: int, most: int, what: str) -> None:
    if amount > most:
        raise OverLimitError(f"{amount:,} {what}, where {most:,} are allowed")


_DO: dict[str, Callable[[Any, dict[str, Any], bytes], Any]] = {
    "load": _load, "encode": _encode, "decode": _decode, "vocabulary": _vocabulary, "render": _render,
}  # fmt: skip

if __name__ == "__main__":
    main()
