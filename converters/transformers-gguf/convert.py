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
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except (ImportError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        # By these a library refuses; what else it raises is left to the interpreter.
        sys.exit(f"error: {type(error).__name__}: {error}")
