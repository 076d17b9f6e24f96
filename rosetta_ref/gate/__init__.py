"""A gate for anybody's converter: cases, verdicts, evidence and a score.

What is under test: `converter`, `entries` (how a user names one), `template`, `process` and `function` (how it is called),
`supervisor` and `supervise` (how it is ended), `workspace` and `walk`, `smoke`. What it is given: `sample`; `samples`,
`alignment`, `models`, `payloads` and `vocabulary` make one, `real` takes a file as it is, `faces` writes it (with `stated` and
`big_endian`), `malformed` breaks it. What counts as right: `mapping`, `view` (how a file is looked at), `rules` (with `narrow`
and `approximate`, by way of `pieces` and `tally`), `judge`, `facts` and `words`, `chains`. What is asked: `cases`, `session`,
`answers` (or `failed`), `safety`, `run`. Who judges, in a process of its own: `question`, `judges`, `judge_process`, `judging`,
`judgements`. What is made of it: `result`, `expectations` and the `verdict` over them, `score`, `record` (the files), `summary`,
`history`.

Nothing here uses `rosetta_ref.convert` or `rosetta_ref.architectures`: the judge shares no code with what it judges. The
reference is one of the converters under test, and is called like any other one.
"""
