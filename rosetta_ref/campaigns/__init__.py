"""Campaigns: very many runs of the command line, each on an input of its own, judged by rules that hold for all of them.

`hostile` is the engine: it deals numbered executions to processes and counts what they find. Read `case` (what one execution is),
`draw` (how a number becomes one: seeds of `seeds`, broken by `mutate`), `worker` (how it runs, with the limits of `watch`),
`oracles` (what is a fault), `keeper` (who watches the worker), `findings` (what is kept) and `planted` (the self-test).
"""
