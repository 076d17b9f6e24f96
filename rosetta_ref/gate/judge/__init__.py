"""What counts as right: a source and what a converter made of it, held against each other.

Read `model` and `models.llama` (what an architecture is to the judge: a record), `mapping` (names, rows and numbers in the three
formats, with `claims` and `rope`), `view` (a file as the judge sees it), `values` (one tensor, by its types; with `narrow`,
`approximate`, `pairs` and `verdict`), `tensors` (all of them), `metadata` and `tokenizer`, `chains`. `question`, `files` and
`cache` answer one question about files; `processes` and `process` do that in processes of their own, with limits.

Nothing here uses the converter or its architectures: a judge shares no code with what it judges.
"""
