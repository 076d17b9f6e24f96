"""A run: which cases there are, and how each of them is answered.

Read `cases` (every case with its id), `session` and `workspace` (the conversions, each done once, in a folder of its own), `checks`
(the answer to a case; `no_output` and `refusals` tell those without files), `engine` (all cases). `request` is what a user
asked for, and what is made of the results.
"""
