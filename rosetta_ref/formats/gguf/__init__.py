"""GGUF, the container of llama.cpp: versions 2 and 3 to read in either byte order, version 3 little-endian to write.

Read `layout` first (the tables), then `cursor` and `values` (how bytes become values), `reader` (one file), `placement`
(where data may lie), `split` (a set of files), and `writer`. `errors` is the list of rules.
"""

from rosetta_ref.formats.gguf.layout import holds
from rosetta_ref.formats.gguf.split import read
from rosetta_ref.formats.gguf.writer import write

__all__ = ["holds", "read", "write"]
