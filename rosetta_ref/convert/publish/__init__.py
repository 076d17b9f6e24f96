"""Whole or not at all: how what was written and checked becomes the target, whenever the power fails.

Everything is prepared in a folder `.NAME.partial` beside the target (`staging` makes it and holds a lock on it). Then

- a file alone gets its name by one rename;
- a directory that is there is exchanged with the new one in one step. Files in it that are not of the model are in the new one by
  then, as links to the same files (`tree`);
- several files that belong into a folder of others (`m.safetensors`, its configuration, `rosetta/`), and a directory where the
  system has no exchange, are put in place one by one. A journal in the staging folder says which: writing it is the decision.
  Before it nothing outside has changed; after it, old weights go aside first and new ones come last, so that no reader finds new
  weights beside an old configuration, and the next run finishes what a kill left (`journal`, `steps`).

Read `rules` (what is refused), `names` (what may be published), `disk` (single steps that follow no link), `tree`, `journal` and
`steps`, then `place` and `staging`, which put them together.
"""
