"""The folder that a reduction leaves: input, output, what should have come out, and how to show it.

`folder` writes it: `expected` (expected.json), `report` (report.md, with `where` and `prose`), `annotate` (annotated.txt, with
`annotation` and `dump`), `script` (build.py), `output` (copies of what the converter wrote). `replay` holds a folder against a
converter, `pytest_failures` makes each one a test.
"""
