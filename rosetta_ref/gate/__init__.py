"""A gate for anybody's converter: cases, verdicts, evidence and a score.

Read `cases` (one question), `findings` (its result), then the rooms from the ground up: `converter` (what is under test), `judge`
(what counts as right), `inputs` and `malformed` (what a converter is given), `run` (every case answered), `report` (what is made of
it), `smoke` (a first talk), `plugin` (the same in pytest). `adapters` are converters that everybody has, `expectations` what
is known of them.

Nothing here uses `rosetta_ref.convert` or `rosetta_ref.architectures`: the judge shares no code with what it judges. The
reference is one of the converters under test, and is called like any other one.
"""
