"""transformers' GGUF loading, saved again: `from_pretrained(gguf_file=...)` and `save_pretrained` of model and tokenizer.

`save_pretrained` alone is refused since transformers 5 ("The model is quantized with gguf and is not serializable"), although the
weights are decoded and its documentation saves them. So what calls them quantised is taken off first.
"""

import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer


def main(source: Path, target: str) -> None:
    """Load, decoded, and save."""
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer = None
        del model.config.quantization_config
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: convert.py SRC DST")
    main(Path(sys.argv[1]), sys.argv[2])
