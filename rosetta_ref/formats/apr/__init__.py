"""APR, the native container of aprender: version 2 to read and write, everything else to recognise and refuse.

Read `tables` first (header, flags, type codes, metadata keys), then `reader` and `writer`, which share those tables and no
code. `index`, `metadata` and `shapes` are the reader's parts: the tensor index, the JSON, and the order of dimensions in files
that do not say.
"""

from rosetta_ref.formats.apr.reader import AprArchive, read
from rosetta_ref.formats.apr.tables import holds
from rosetta_ref.formats.apr.writer import write

__all__ = ["AprArchive", "holds", "read", "write"]
