"""`gguf2mlx convert` as it is called without options: a GGUF file to a directory that mlx-lm and transformers load."""

import sys

from gguf2mlx.gguf2mlx import main

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: convert.py SRC DST")
    sys.argv = ["gguf2mlx", "convert", "--input", sys.argv[1], "--output", sys.argv[2]]
    sys.exit(main())
