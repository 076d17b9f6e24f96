"""The converter under test: what a user writes of it, how it is called, and how it is ended.

Read `entry` (what a converter says of itself, and one call of it), `named` (from what a user writes to an entry; `fields` is its
table, `template` reads command lines, `bundled` knows some by name), then the two ways to call one: `command`, and `function`
with `call`. `supervisor` and `supervise` end whatever a call leaves running, `interrupt` ends all calls at once. `clock`,
`memory` and `walk` hold a call to its limits; `output` keeps what it printed.
"""
