"""The members on trial: which gate kills which member, and whether verifiers that are wrong on purpose are caught.

`matrix` runs the members, `tally` adds up all seeds, `document` writes docs/zoo.md. `verifiers` and `comparators` are wrong
judges; the `canary` must never live.
"""
