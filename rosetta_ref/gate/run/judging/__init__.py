"""Judging in a process of its own: what a converter writes may make any reader fall, hang or fill the memory.

Read `questions` (one question answered: the check's `judge`, and what its result comes to), `process` (a process that answers
questions, a line each) and `processes` (who starts them, asks them, and ends them).
"""
