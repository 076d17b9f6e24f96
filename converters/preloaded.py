"""A converter in Python whose imports take seconds, as a command that takes tenths: a server that forks for each call.

    python converters/preloaded.py serve SOCKET converters/NAME/convert.py MODULE,MODULE    imports, then waits
    python converters/preloaded.py call SOCKET SRC DST                                      one conversion

The interpreter of `serve` is the converter's, that of `call` any. Each call is a fresh process, with the arguments, the folder,
the environment, the standard output and the error output of the command, and ends with its exit code.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import runpy
import socket
import sys
import traceback

_LONGEST = 1 << 20


def serve(path: str, glue: str, modules: str) -> None:
    """Import the modules, and run the glue once for each connection; never returns."""
    for name in modules.split(","):
        importlib.import_module(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen(64)
        while True:
            connection, _ = server.accept()
            # Twice, so that nobody has to wait for the one that answers.
            if (child := os.fork()) == 0:
                server.close()
                if os.fork() == 0:
                    _answer(connection, glue)
                os._exit(0)
            connection.close()
            os.waitpid(child, 0)


def _answer(connection: socket.socket, glue: str) -> None:
    """One call, in a process of its own whose end is told to the caller."""
    words, fds, _, _ = socket.recv_fds(connection, _LONGEST, 2)
    asked = json.loads(words)
    worker = os.fork()
    if worker == 0:
        os.setsid()
        os.dup2(fds[0], 1)
        os.dup2(fds[1], 2)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = [glue, *asked["arguments"]]
        os._exit(_run(glue))
    _, status = os.waitpid(worker, 0)
    connection.sendall(array.array("i", [os.waitstatus_to_exitcode(status)]).tobytes())
    os._exit(0)


def _run(glue: str) -> int:
    """The exit code that the interpreter would end with."""
    code = 0
    try:
        runpy.run_path(glue, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 (as the interpreter ends, so does the call)
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def call(path: str, arguments: list[str]) -> int:
    """Ask the server; the exit code, 128 and the signal for one that a signal ended."""
    said = {"folder": os.getcwd(), "environment": dict(os.environ), "arguments": arguments}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(said).encode()], [1, 2])
        (code,) = array.array("i", server.recv(4))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:5])
    sys.exit(call(sys.argv[2], sys.argv[3:]))
