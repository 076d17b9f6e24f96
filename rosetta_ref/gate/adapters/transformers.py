"""transformers: load a GGUF model, decoded, and save it as a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path


def convert(src: str | Path, dst: str | Path) -> None:
    """GGUF -> a directory, with the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    src = Path(src)
    model = AutoModelForCausalLM.from_pretrained(src.parent, gguf_file=src.name)
    if getattr(model, "hf_quantizer", None) is not None:  # it calls itself quantised, and would not be saved
        model.hf_quantizer = None
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(src.parent, gguf_file=src.name)
    model.save_pretrained(dst)
    tokenizer.save_pretrained(dst)
