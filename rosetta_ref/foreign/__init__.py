"""Files and texts of strangers, read with care: the one way in for JSON, YAML, TOML and companions.

`read_file` reads regular files alone, waits for none and takes none that is too large. `json_of` and its kin refuse what readers
disagree on (a key twice, NaN, half a surrogate pair), what is nested too deeply, and what would take long. Each refusal is a
ForeignTextError that names the file and the rule; nothing else is raised, whatever the bytes.
"""

from rosetta_ref.foreign.files import naming, open_descriptor, open_file, read_file
from rosetta_ref.foreign.rules import (
    DepthError,
    EncodingError,
    ForeignTextError,
    JsonError,
    LinkedFileError,
    MemoryRefusalError,
    NoFileError,
    NotAFileError,
    PointerError,
    SystemRefusalError,
    TomlError,
    UnreadableTextError,
    YamlError,
)
from rosetta_ref.foreign.texts import (
    ESCAPED_HALF,
    json_object,
    json_of,
    require_shallow,
    require_whole_text,
    text_of,
    toml_of,
    yaml_of,
)

__all__ = [
    "ESCAPED_HALF",
    "DepthError",
    "EncodingError",
    "ForeignTextError",
    "JsonError",
    "LinkedFileError",
    "MemoryRefusalError",
    "NoFileError",
    "NotAFileError",
    "PointerError",
    "SystemRefusalError",
    "TomlError",
    "UnreadableTextError",
    "YamlError",
    "json_object",
    "json_of",
    "naming",
    "open_descriptor",
    "open_file",
    "read_file",
    "require_shallow",
    "require_whole_text",
    "text_of",
    "toml_of",
    "yaml_of",
]
