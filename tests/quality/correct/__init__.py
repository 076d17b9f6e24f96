"""Small correct converters, each of which does it in a way of its own: the gate has nothing to say against any of them.

Each module is a converter that shares no line with `rosetta_ref`; gguf-py, NumPy, safetensors and libggml do the work. It has

    ENTRY     the fields of an entry that it claims (`pairs`, `architectures`, `quantises`, ...), as a rosetta.toml has them
    CASES     patterns of the cases that every run asks: a thin slice, and each pattern has to name some
    NEEDS     libraries without which it is skipped
    convert   the function: (src, dst), or (src, dst, *, type=None) where a type is asked for

and a docstring whose first line says what it does otherwise than the reference, and why that is right. What several of them need
stands in modules whose names begin with an underscore. `tests/quality/test_correct.py` is the runner.
"""
