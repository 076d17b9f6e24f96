"""Programs for documents to call: a converter of this process behind a socket, so that a call takes no second to start."""

from __future__ import annotations

import os
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rosetta_ref.gate.converter.entry import Converter
from tests.support.plugin import PLUGIN

ROOT = Path(__file__).parents[2]
#: Asks the process behind the socket; what it refuses ends with 5, as with `apr`, other words than its own with 64.
_ASK = """#!/usr/bin/env bash
[ "${*:1:$#-2}" = "WORDS" ] || exit 64
exec 3<>/dev/tcp/127.0.0.1/PORT
printf '%s\\n%s\\n' "${@: -2:1}" "${@: -1}" >&3
read -r code <&3
read -r said <&3
echo "$said" >&2
exit "$code"
"""


def _handler(converter: Converter) -> type[socketserver.StreamRequestHandler]:
    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            src, dst = (Path(os.fsdecode(self.rfile.readline().rstrip(b"\n"))) for _ in range(2))
            run = converter.convert(src, dst)
            said = "".join((run.stdout, run.stderr)).strip().replace("\n", "; ") or "-"
            self.wfile.write(f"{0 if run.accepted else 5}\n{said}\n".encode())

    return Answering


@contextmanager
def programs(folder: Path, command: str, converter: Converter) -> Iterator[Mapping[str, str]]:
    """The environment in which `command SRC DST` converts, and `rosetta-ref` and `pytest` are those of this process."""
    name, _, words = command.partition(" ")
    place = folder / "bin"
    place.mkdir()
    with socketserver.TCPServer(("127.0.0.1", 0), _handler(converter)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scripts = {name: _ASK.replace("PORT", str(server.server_address[1])).replace("WORDS", words)}
        for program, module in (("rosetta-ref", "rosetta_ref.cli"), ("pytest", " ".join(["pytest", *PLUGIN]))):
            scripts[program] = f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n'
        for program, text in scripts.items():
            (place / program).write_text(text)
            (place / program).chmod(0o755)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        yield {
            **clean,
            "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PWD": str(folder),
        }
        server.shutdown()
