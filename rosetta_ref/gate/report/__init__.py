"""What is made of a run's results: the verdict, the score, the files, the summary.

Read `expectations` (failures that are known, with `conditions`), `verdict` (what came as expected), `score` (MQS), `files`
(result.json and evidence.json), `summary` (what is printed), `history` (two runs side by side), `draft` (expectations from a
run).
"""
