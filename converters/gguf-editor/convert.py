"""`gguf-editor quantize`: GGUF or SafeTensors to GGUF, of a type where one is asked for, else as the tensors are."""

import sys

from gguf_editor.__main__ import main

if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: convert.py SRC DST [TYPE]")
    source, target, *kind = sys.argv[1:]
    # It wants a type or a rule; a rule that no name matches carries all tensors as they are.
    options = ["--type", kind[0].lower()] if kind and kind[0] else ["--tensor-type-rules", "^$=f32"]
    # One thread, on the processor: what it computes on is no question here.
    sys.exit(main(["quantize", "-m", source, "-o", target, "--device", "cpu", "--threads", "1", *options]))
