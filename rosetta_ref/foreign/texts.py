"""Texts of strangers: UTF-8, JSON, YAML and TOML, refused where two readers could take them for different things."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rosetta_ref import limits
from rosetta_ref.foreign.rules import DepthError, EncodingError, JsonError, TomlError, YamlError


def text_of(data: bytes, *, file: str | Path | None = None) -> str:
    """UTF-8 as text. Raises EncodingError."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EncodingError(f"not UTF-8: {error.reason}", file=file, offset=error.start) from error


def json_of(
    data: bytes | str,
    *,
    file: str | Path | None = None,
    what: str = "it",
    constants: bool = False,
    twice: bool = False,
    halves: bool = False,
) -> Any:
    """The value of a JSON text; `what` names it in messages.

    `constants` takes NaN and Infinity, which Python writes and JSON lacks; `twice` takes the last of equal keys, as most loaders
    do; `halves` takes halves of surrogate pairs, with which this package spells bytes that are no text. Raises EncodingError,
    JsonError, DepthError.
    """
    text = data if isinstance(data, str) else text_of(data, file=file)
    try:
        value = json.loads(
            text,
            object_pairs_hook=None if twice else _each_once,
            parse_constant=None if constants else _no_constant,
            parse_float=None if constants else _finite,
        )
    except RecursionError as error:
        raise DepthError(f"{what} is nested too deeply", file=file) from error
    except ValueError as error:  # JSONDecodeError, and numbers of more digits than Python converts
        raise JsonError(f"{what} is not JSON: {error}", file=file, offset=getattr(error, "pos", None)) from error
    require_shallow(value, what, file)
    if not halves and ESCAPED_HALF.search(text):
        require_whole_text(value, what, file)
    return value


def json_object(
    data: bytes | str,
    *,
    file: str | Path | None = None,
    what: str = "it",
    constants: bool = False,
    twice: bool = False,
    halves: bool = False,
) -> dict[str, Any]:
    """The same, where it has to be an object. Raises as `json_of`."""
    value = json_of(data, file=file, what=what, constants=constants, twice=twice, halves=halves)
    if not isinstance(value, dict):
        raise JsonError(f"{what} is a JSON {type(value).__name__}, not an object", file=file)
    return value


def yaml_of(text: str, *, file: str | Path | None = None, what: str = "it") -> Any:
    """The value of a YAML document: mappings, lists, texts, numbers, dates.

    Raises YamlError, DepthError, LimitExceededError, and ImportError where PyYAML is not installed.
    """
    import yaml

    limits.require("yaml-bytes", len(text), what, file=file)
    try:
        value = _loaded(yaml, text)
    except RecursionError as error:
        raise DepthError(f"{what} is nested too deeply", file=file) from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise YamlError(f"{what} is not YAML: {' '.join(str(error).split())}", file=file) from error
    require_shallow(value, what, file)
    if _has_huge(value):
        raise YamlError(f"{what} has a whole number of more than 64 bits", file=file)
    return value


def _loaded(yaml: Any, text: str) -> Any:
    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    # A few aliases within each other stand for more values than there is memory. libyaml resolves them out of sight.
    if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, parser)):
        raise ValueError("it has an alias")

    class Loader(parser):  # type: ignore[misc, valid-type]
        """A key once."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            if isinstance(node, yaml.MappingNode):
                keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
                if len(set(keys)) != len(keys):
                    raise ValueError(f"a key stands twice{node.start_mark}")
            return super().construct_mapping(node, deep)

        def construct_number(self, node: Any) -> Any:
            # PyYAML takes 59:59:59 for seconds, in quadratic time.
            if len(node.value) > _DIGITS or ":" in node.value:
                raise ValueError(f"{node.value[:40]!r} is no number here{node.start_mark}")
            return super().construct_yaml_int(node) if node.tag.endswith(":int") else super().construct_yaml_float(node)

    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.construct_number)
    return yaml.load(text, Loader)


def toml_of(data: bytes, *, file: str | Path | None = None, what: str = "it") -> dict[str, Any]:
    """The table of a TOML document. Raises EncodingError, TomlError, DepthError, LimitExceededError."""
    limits.require("toml-bytes", len(data), what, file=file)
    text = text_of(data, file=file)
    if (chain := _CHAIN.search(text)) is not None:
        # tomllib remembers each beginning of such a key: 400 kB of one take all of the memory.
        raise TomlError(
            f"{what} has a key of more than {_LINKS} names", file=file, offset=len(text[: chain.start()].encode())
        )
    try:
        value = tomllib.loads(text)
    except RecursionError as error:
        raise DepthError(f"{what} is nested too deeply", file=file) from error
    except ValueError as error:
        raise TomlError(f"{what} is not TOML: {error}", file=file) from error
    require_shallow(value, what, file)
    if _has_huge(value):
        raise TomlError(f"{what} has a whole number of more than 64 bits", file=file)
    return value


_FLAT = (str, int, float, type(None))  # an int that is a bool, too
#: An escape that may spell half of a surrogate pair.
ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_LINKS = 16
#: Characters of a number in YAML.
_DIGITS = 100
_CHAIN = re.compile(rf"""(?:(?:(?<![\w-])[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_LINKS}}}""")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:200]!r} stands twice")
            seen.add(key)
    return made


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    number = float(word)
    if number - number != 0:
        raise ValueError(f"{word[:40]} is no float64")
    return number


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def require_shallow(
    value: Any, what: str, file: str | Path | None, parts: Callable[[Any], Iterable[Any]] = _parts
) -> None:
    """Raise DepthError where values nest beyond the limit: whoever walks them later may do so by recursion.

    `parts` gives the values in a value, for objects that are no dictionaries.
    """
    level, depth = [value], 0
    while level := [inner for outer in level for inner in parts(outer) if not isinstance(inner, _FLAT)]:
        depth += 1
        if depth >= limits.of("json-depth"):
            raise DepthError(
                f"{what} is nested more than {limits.of('json-depth')} deep", file=file,
                hint="--limits json-depth=... raises the limit.",
            )  # fmt: skip


def _has_huge(value: Any) -> bool:
    """Whether a whole number, or a key that is one, is beyond 64 bits: written in hexadecimal it has any size, and no words."""
    level = [value]
    while level:
        if any(isinstance(one, int) and one.bit_length() > 64 for one in level):
            return True
        level = [inner for one in level for inner in (*_parts(one), *(one if isinstance(one, dict) else ()))]
    return False


def require_whole_text(value: Any, what: str, file: str | Path | None) -> None:
    """Raise EncodingError where an escape spelled half of a surrogate pair, which no UTF-8 file can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise EncodingError(
            f"{what} has half a surrogate pair, {error.object[error.start : error.end]!r}", file=file
        ) from error
