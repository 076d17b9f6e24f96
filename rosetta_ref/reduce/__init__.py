"""From a file that comes out wrong to the smallest one that comes out wrong in the same way.

Read `fingerprint` (what "the same failure" means), `given` (an input in parts that can be taken away), `oracle` (one candidate:
written, converted, judged), `search` (which candidates were tried, what they cost, the smallest so far), the passes (`tensors`,
`metadata`, `payload`, `models`: each proposes smaller inputs, boldest first), `shrink` (the passes, to a fixed point), `run` (all
of it). What is left of it: `folder`, with `record`, `report`, `annotate` and `script`; `replay` holds one against a converter,
`reproductions` are those of a run of the gate.
"""
