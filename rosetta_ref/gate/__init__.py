"""A gate for anybody's converter: cases, verdicts, evidence and a score.

Read `converter` (what is under test and how it is called), `sample` (what it is given; `samples`, `models`, `payloads` and
`vocabulary` make it, `faces` writes it in each format, `malformed` breaks it), `mapping`, `rules` and `judge` (what counts as
right; `view` is how a file is looked at, `words` judges configuration and tokenizer), `cases` (what is asked, in which chains),
`session` and `run` (the engine), `result` and what is made of results: `expectations` and the `verdict` over them, `score`,
`record` (the files), `summary`, `history`. Nothing here uses `rosetta_ref.convert` or `rosetta_ref.architectures`: the judge
shares no code with what it judges. The reference is one of the converters under test, and is called like any other one.
"""
