"""A gate for anybody's converter: cases, verdicts, evidence and a score.

Read `converter` (what is under test and how it is called), `sample` (what it is given), `mapping` and `judge` (what counts as
right), `cases` (what is asked, in which chains), `run` (the engine), `result` and what is made of results: `expectations` and the
`verdict` over them, `score`, `record` (the files), `summary`, `history`. Nothing here uses `rosetta_ref.convert` or
`rosetta_ref.architectures`: the judge shares no code with what it judges. The reference is one of the converters under test, and is
called like any other one.
"""
