"""From a file that comes out wrong to the smallest one that comes out wrong in the same way.

Read `search` (one candidate, what "the same failure" means, the smallest so far), `passes` (each proposes smaller inputs),
`shrink` (the passes, to a fixed point), `run` (all of it), `folder` (what is left of it). `reproductions` are those of a run of
the gate, `pytest_gate` the same under pytest. `envelope` takes files apart that no reader takes, with the walks of
`formats.fields`.
"""
