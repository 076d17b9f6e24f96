"""A gate for anybody's converter: cases, verdicts, evidence and a score.

Read `pairs` (formats and paths of them), `gates` and `kinds` (what is asked, and what can be wrong), `findings` (the result of a
case), then the rooms from the ground up: `converter` (what is under test), `judge`
(what counts as right), `inputs` and `malformed` (what a converter is given), `run` (every case answered), `report` (what is made of
it), `smoke` (a first talk), `plugin` (the same in pytest). `adapters` are converters that everybody has, `expectations` what
is known of them.

Nothing here uses `rosetta_ref.convert` or `rosetta_ref.architectures`: the judge shares no code with what it judges. The
reference is one of the converters under test, and is called like any other one.
"""
