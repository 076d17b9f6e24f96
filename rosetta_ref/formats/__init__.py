"""The containers, each with `read(path) -> Archive` and `write(archive, path)`.

`registry` has a row for each: what others have to know to tell them apart. Readers and writers of a format share its tables, not
code. `fields` says what each byte of a file is, whatever the bytes are.
"""
