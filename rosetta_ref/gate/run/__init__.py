"""A run: which cases there are, and how each of them is answered.

Read `checks` (what is asked), `plan` (every case with its id), `session` and `workspace` (the conversions, each done once, in a
folder of its own), `answers` (the answer to a case; `no_output` and `refusals` tell those without files), `judging` (the process
that looks at the files), `engine` (all cases). `request` is what a user asked for, and what is made of the results. `extent` says
how much of it is asked (`order`: what comes first where there is little time), `patience` how long a call is waited for, and
`progress` how far a run is.
"""
