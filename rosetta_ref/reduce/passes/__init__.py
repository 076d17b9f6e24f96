"""The passes: each proposes smaller inputs that may fail in the same way, the boldest first.

`tensors` (with `cut`), `metadata`, `payload`; `models` (with `resize` and `vocabulary`) for bugs that need a whole model;
`malformed` for files that break a rule.
"""
