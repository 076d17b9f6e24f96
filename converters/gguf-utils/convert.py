"""`gguf-utils convert`: GGUF to GGUF, linear maps and embeddings cast to a type where one is asked for, else in its order.

It names its output itself, in a folder; what it writes there is moved to where the gate looks.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

#: What comes before this file: the program that `cargo install` made.
PROGRAM = sys.argv[1]


def main(source: str, target: str, kind: str = "") -> int:
    """Run it; its exit code, or 1 where it wrote nothing or more than one file."""
    # It takes a pattern, and merges the parts of a model.
    source = re.sub(r"-\d{5}-of-(\d{5}\.gguf)$", r"-*-of-\1", source)
    steps = f"cast:linear:{kind} embd:{kind}" if kind else "sort"
    with tempfile.TemporaryDirectory(dir=Path(target).parent) as folder:
        done = subprocess.run([PROGRAM, "convert", source, "--steps", steps, "--output-dir", folder, "--log", "error"])
        written = list(Path(folder).glob("*.gguf"))
        if done.returncode == 0 and len(written) == 1:
            written[0].rename(target)
            return 0
    return done.returncode if done.returncode > 0 else 128 - done.returncode if done.returncode else 1


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: convert.py PROGRAM SRC DST [TYPE]")
    sys.exit(main(*sys.argv[2:]))
