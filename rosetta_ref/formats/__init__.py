"""The three containers, each with `read(path) -> Archive` and `write(archive, path)`.

Readers and writers of a format share its tables, not code.
"""
