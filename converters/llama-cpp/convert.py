"""llama.cpp's own convert_hf_to_gguf.py, unmodified: `SCRIPT` in the environment is its path in an unpacked source distribution.

As a command, `convert.py SRC DST`, each call imports torch anew (3 s). As a function of the gate it is imported once.
"""

from __future__ import annotations

import os
import runpy
import sys


def convert(src: str, dst: str) -> None:
    """Run it as `convert_hf_to_gguf.py SRC --outfile DST --outtype auto`. Raises what it does; RuntimeError for an exit code."""
    script = os.environ["SCRIPT"]
    folder, before = os.path.dirname(script), (sys.argv, sys.path[:])
    sys.argv = [script, str(src), "--outfile", str(dst), "--outtype", os.environ.get("OUTTYPE", "auto")]
    sys.path.insert(0, folder)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise RuntimeError(f"exit code {end.code}") from end
    finally:
        sys.argv, sys.path[:] = before


if __name__ == "__main__":
    convert(*sys.argv[1:])
