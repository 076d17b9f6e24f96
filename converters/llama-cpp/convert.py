"""llama.cpp's own convert_hf_to_gguf.py, unmodified: `SCRIPT` in the environment is its path in an unpacked source distribution.

As a command, `convert.py SRC DST [TYPE]`, F32 without a type; each call imports torch anew (3 s);
`converters/preloaded.py` serves it.
As a function of the gate it is imported once; there `OUTTYPE` says the type, and is auto where it is not set.
"""

from __future__ import annotations

import os
import runpy
import sys


def convert(src: str, dst: str, kind: str = "") -> None:
    """Run it as `convert_hf_to_gguf.py SRC --outfile DST --outtype KIND`. Raises what it does; RuntimeError for an exit code."""
    script = os.environ["SCRIPT"]
    folder, before = os.path.dirname(script), (sys.argv, sys.path[:])
    sys.argv = [script, str(src), "--outfile", str(dst), "--outtype", kind or os.environ.get("OUTTYPE", "auto")]
    sys.path.insert(0, folder)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise RuntimeError(f"exit code {end.code}") from end
    finally:
        sys.argv, sys.path[:] = before


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: convert.py SRC DST [TYPE]")
    kind = sys.argv[3].lower() if sys.argv[3:] else ""
    convert(sys.argv[1], sys.argv[2], kind or "f32")
