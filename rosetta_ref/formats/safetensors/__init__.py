"""SafeTensors: an 8-byte header length, a JSON header, and the tensors' bytes without a gap.

Read `table` first (the element types), then `errors` (the rules), `reader`, `shards` (directories and their index) and
`writer`. What is taken and what is refused is what the `safetensors` library 0.8 takes and refuses.
"""

from rosetta_ref.formats.safetensors.shards import Index, chosen, read, read_index
from rosetta_ref.formats.safetensors.table import DTYPES, holds
from rosetta_ref.formats.safetensors.writer import INDEX_NAME, Shard, index_name, plan_shards, write, write_sharded

__all__ = [
    "DTYPES",
    "INDEX_NAME",
    "Index",
    "Shard",
    "chosen",
    "holds",
    "index_name",
    "plan_shards",
    "read",
    "read_index",
    "write",
    "write_sharded",
]
