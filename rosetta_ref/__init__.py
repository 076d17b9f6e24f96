"""rosetta-ref: a reference converter between GGUF, SafeTensors and APR.

Read it from the ground up: `quant` (blocks to numbers), `archive` (what a file holds), `formats` (the three files),
`architectures` (what names and numbers mean), `inference` (what a model answers), `convert` (the six pairs), `verify` (the same
answers), `cli`.
"""

from rosetta_ref.convert import convert
from rosetta_ref.errors import RosettaError
from rosetta_ref.version import __version__

__all__ = ["RosettaError", "__version__", "convert"]
