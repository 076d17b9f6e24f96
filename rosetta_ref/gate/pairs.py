"""The formats, their letters, and the pairs of formats that a converter goes between."""

FORMATS = ("gguf", "apr", "safetensors")
#: The letters of the formats in the names of pairs: "G-A" is GGUF -> APR.
LETTERS = {"G": "gguf", "A": "apr", "S": "safetensors"}
PAIRS = ("G-A", "A-G", "G-S", "S-G", "A-S", "S-A")
