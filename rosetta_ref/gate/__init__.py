"""A gate for anybody's converter: cases, verdicts, evidence and a score.

Read `converter` (what is under test; `process` and `function` call it, `entries` and `bundled` say which one is meant), `sample`
(what it is given; `samples`, `models`, `payloads` and `vocabulary` make it, `faces` writes it in each format, `malformed` breaks
it), `attempt` and `smoke` (one call, and a first talk), `mapping` and `judge` (what counts as right), `cases` (what is asked, in
which chains), `run` (the engine), `result` and what is made of results: `expectations`, `score`, `summary`. Nothing here uses
`rosetta_ref.convert` or `rosetta_ref.architectures`: the judge shares no code with what it judges. The reference is one of the
converters under test, and is called like any other one.
"""
