"""What `mlx_lm.fuse --export-gguf` does, without adapters to fuse: a Hugging Face directory to one GGUF file."""

import sys
from pathlib import Path

from mlx.utils import tree_flatten
from mlx_lm.gguf import convert_to_gguf
from mlx_lm.utils import load

#: The list stands in the body of mlx_lm.fuse.main and cannot be imported.
MODEL_TYPES = ("llama", "mixtral", "mistral")


def main(src: str, dst: str) -> None:
    """Export, or refuse as `mlx_lm.fuse` does."""
    model, _, config = load(src, return_config=True)
    if config["model_type"] not in MODEL_TYPES:
        raise ValueError(f"Model type {config['model_type']} not supported for GGUF conversion.")
    convert_to_gguf(Path(src), dict(tree_flatten(model.parameters())), config, dst)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: convert.py SRC DST")
    try:
        main(sys.argv[1], sys.argv[2])
    except (ValueError, NotImplementedError, FileNotFoundError, RuntimeError) as error:  # what mlx refuses with
        sys.exit(f"error: {error}")
