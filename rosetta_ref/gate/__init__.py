"""A gate for anybody's converter: cases, verdicts, evidence and a score.

What is under test: `converter`, `entries` (how a user names one), `process` and `function` (how it is called), `workspace`,
`smoke`. What it is given: `sample`; `samples`, `models`, `payloads` and `vocabulary` make one, `real` takes a file as it is,
`faces` writes it (`big_endian` as well), `malformed` breaks it.
What counts as right: `mapping`, `view` (how a file is looked at), `rules`, `judge`, `words`. What is asked: `cases`, `session`,
`answers`, `safety`, `run`. What is made of it: `result`, `expectations` and the `verdict` over them, `score`, `record` (the files),
`summary`, `history`.

Nothing here uses `rosetta_ref.convert` or `rosetta_ref.architectures`: the judge shares no code with what it judges. The
reference is one of the converters under test, and is called like any other one.
"""
