"""What a converter is given: samples, each one model as every format holds it.

Read `sample` first. `default` makes the samples of a run out of `models`, `tokenizers`, `alignment` and `big_endian`; `real` takes
a file as it is; `write` writes a sample in each format.
"""
