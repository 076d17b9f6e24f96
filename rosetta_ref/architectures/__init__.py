"""What names and numbers mean: Hugging Face <-> GGUF names, head order, configuration, tokenizer."""
