"""There and back, edited in between: what does not come back is refused, or a note names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import rosetta_ref
from rosetta_ref import RosettaError
from rosetta_ref.architectures.tokenizer import library
from rosetta_ref.archive import Archive, Kind, Value
from rosetta_ref.formats import apr, gguf
from tests.support.damage import edit_json
from tests.support.hostile import (
    GOLDEN,
    SPM,
    companions,
    digests,
    directory,
    memory,
    remembering,
    safetensors_header,
    snapshot,
    with_keys,
    write_header,
)

LLAMA3 = GOLDEN / "llama3-rope-bias"
APR_RUST = GOLDEN.parent / "apr-rosetta" / "aprender-0.25.0" / "llama-f32.apr"


def edited(path: Path, target: Path, change: Callable[[dict[str, Value]], Mapping[str, Value]]) -> Path:
    """A GGUF file with other metadata."""
    with gguf.read(path) as model:
        gguf.write(Archive("gguf", dict(change(dict(model.metadata))), model.tensors), target)
    return target


def notes_of(source: Path, target: Path, **options: Any) -> str:
    return "\n".join(rosetta_ref.convert(source, target, **options).notes)


# --- into a directory that is remembered


def remembered(tmp_path: Path, change: Callable[[dict[str, Value]], Mapping[str, Value]]) -> str:
    rosetta_ref.convert(SPM / "hf", tmp_path / "m.gguf")
    notes = notes_of(edited(tmp_path / "m.gguf", tmp_path / "e.gguf", change), tmp_path / "hf")
    assert digests(tmp_path / "hf") == digests(SPM / "hf")  # else this is not the case that is meant
    return notes


def last_first(metadata: dict[str, Value]) -> dict[str, Value]:
    keys = [key for key in metadata if not key.startswith("rosetta.")]
    return {keys[-1]: metadata[keys[-1]]} | metadata


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (last_first, "order"),
        (lambda m: m | {"general.alignment": Value.scalar(Kind.U32, 64)}, "general.alignment"),
        (lambda m: m | {"general.file_type": Value.scalar(Kind.U32, 7)}, "general.file_type"),
        (lambda m: {k: v for k, v in m.items() if k != "general.quantization_version"}, "general.quantization_version"),
        (lambda m: m | {"rosetta.mine": Value.scalar(Kind.U32, 1)}, "rosetta.mine"),
        (lambda m: m | {"rosetta.apr.metadata": Value.scalar(Kind.STRING, '{"my_key": 1}')}, "my_key"),
    ],
)
def test_what_a_remembered_directory_does_not_say_is_named(change: Any, named: str, tmp_path: Path) -> None:
    assert named in remembered(tmp_path, change)


def test_an_untouched_model_has_nothing_to_tell(tmp_path: Path) -> None:
    notes = remembered(tmp_path, lambda metadata: metadata)
    assert "place" not in notes
    assert "order" not in notes


def test_keys_of_an_apr_file_on_the_way(tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "hf", tmp_path / "m.apr")
    with apr.read(tmp_path / "m.apr") as file:
        apr.write(Archive("apr", file.metadata | {"my_key": "x", "my_other": 5}, file.tensors), tmp_path / "e.apr")
    notes = notes_of(tmp_path / "e.apr", tmp_path / "hf")
    assert "my_key" in notes
    assert "my_other" in notes


def test_metadata_that_changed_leaves_files_behind_by_name(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    (source / "preprocessor_config.json").write_text("{}")
    rosetta_ref.convert(source, tmp_path / "m.gguf")

    def rename(metadata: dict[str, Value]) -> dict[str, Value]:
        return metadata | {"general.name": Value.scalar(Kind.STRING, "Other")}

    notes = notes_of(edited(tmp_path / "m.gguf", tmp_path / "e.gguf", rename), tmp_path / "hf")
    assert "preprocessor_config.json" in notes
    assert "__metadata__" in notes


def test_what_was_left_out_is_named_where_the_directory_is_written_anew(tmp_path: Path) -> None:
    source = directory(tmp_path / "from", GOLDEN / "llama-smollm-tied")
    path = source / "model.safetensors"
    header, data = safetensors_header(path), path.read_bytes()
    start, stop = header["model.embed_tokens.weight"]["data_offsets"]
    first = 8 + int.from_bytes(data[:8], "little")
    end = len(data) - first
    again = {"lm_head.weight": header["model.embed_tokens.weight"] | {"data_offsets": [end, end + stop - start]}}
    write_header(path, header | again)
    path.write_bytes(path.read_bytes() + data[first + start : first + stop])
    rosetta_ref.convert(source, tmp_path / "a.gguf")
    rosetta_ref.convert(tmp_path / "a.gguf", tmp_path / "as it was")
    assert digests(tmp_path / "as it was") == digests(source)
    rosetta_ref.convert(source, tmp_path / "b.gguf", type="q8_0")
    assert "lm_head.weight" in notes_of(tmp_path / "b.gguf", tmp_path / "hf")


# --- __metadata__


def test_a_changed_header_beside_what_was_kept_is_named(tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "q8_0.gguf", tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    write_header(
        path,
        {"__metadata__": {"format": "pt", "tuned_by": "me"}}
        | safetensors_header(path)
        | {"__metadata__": {"format": "pt", "tuned_by": "me"}},
    )
    assert "tuned_by" in notes_of(tmp_path / "hf", tmp_path / "m.gguf")


def two_headers(tmp_path: Path) -> Path:
    source = directory(tmp_path / "from", GOLDEN / "qwen2-tied-sharded")
    for i, path in enumerate(sorted(source.glob("*.safetensors"))):
        write_header(
            path, safetensors_header(path) | {"__metadata__": {"format": "pt", "part": str(i), f"only{i}": "x"}}
        )
    return source


def test_headers_of_several_files_become_one_or_are_named(tmp_path: Path) -> None:
    source = two_headers(tmp_path)
    rosetta_ref.convert(source, tmp_path / "m.gguf")
    (tmp_path / "one").mkdir()
    notes = notes_of(tmp_path / "m.gguf", tmp_path / "one" / "m.safetensors")
    header = safetensors_header(tmp_path / "one" / "m.safetensors")["__metadata__"]
    assert header == {"format": "pt", "part": "0", "only0": "x", "only1": "x", "only2": "x"}
    assert "part" in notes
    assert "only" not in notes.split("__metadata__")[1].split("\n")[0]
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "hf")
    assert digests(tmp_path / "hf") == digests(source)


def test_a_header_is_named_where_weights_are_written_anew(tmp_path: Path) -> None:
    source = two_headers(tmp_path)
    rosetta_ref.convert(source, tmp_path / "m.gguf", type="q8_0")
    assert "only1" in notes_of(tmp_path / "m.gguf", tmp_path / "a", keep_blocks=False)
    rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / "b")  # here the record keeps it
    rosetta_ref.convert(tmp_path / "b", tmp_path / "again.gguf")
    with gguf.read(tmp_path / "m.gguf") as before, gguf.read(tmp_path / "again.gguf") as after:
        assert before.metadata == after.metadata


# --- companions beside what was kept


def test_a_changed_companion_is_remembered_or_named(tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "hf", tmp_path / "a.gguf", type="q8_0")
    for name, source in (("with memory", tmp_path / "a.gguf"), ("without", SPM / "q8_0.gguf")):
        folder = tmp_path / name
        rosetta_ref.convert(source, folder)
        edit_json(folder / "generation_config.json", lambda config: config.update(temperature=0.25))
        (folder / "processor_config.json").write_text('{"mine": 1}')
        notes = notes_of(folder, tmp_path / f"{name}.gguf")
        rosetta_ref.convert(tmp_path / f"{name}.gguf", tmp_path / f"{name} back")
        back = snapshot(tmp_path / f"{name} back")
        if name == "with memory":
            assert json.loads(back["generation_config.json"])["temperature"] == 0.25
            assert back["processor_config.json"] == b'{"mine": 1}'
        else:
            assert "generation_config.json" in notes
            assert "processor_config.json" in notes


def test_files_beside_weights_with_names_as_stored_are_named(tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "q8_0.gguf", tmp_path / "hf", keep_names=True)
    (tmp_path / "hf" / "config.json").write_text("{}")
    assert "config.json" in notes_of(tmp_path / "hf", tmp_path / "m.gguf", keep_names=True)


def test_a_tokenizer_that_is_not_read_is_named(tmp_path: Path) -> None:
    source = directory(tmp_path / "from")
    (source / "tokenizer.model").rename(source / "vocab.json")
    assert "vocab.json" in notes_of(source, tmp_path / "m.gguf")


# --- without the record


@pytest.mark.parametrize("keep_names", [False, True])
def test_without_the_record_the_keys_are_named(keep_names: bool, tmp_path: Path) -> None:
    keys = {"general.author": "me", "my.key": 7}
    (tmp_path / "m.gguf").write_bytes(with_keys((SPM / "auto.gguf").read_bytes(), keys, pad="my.pad"))
    notes = notes_of(tmp_path / "m.gguf", tmp_path / "hf", keep_blocks=False, keep_names=keep_names)
    for key in ("general.author", "general.name", "my.key", *(["llama.block_count"] if keep_names else [])):
        assert key in notes
    assert keep_names or "llama.block_count" not in notes


def test_without_the_record_the_order_is_named(tmp_path: Path) -> None:
    assert "order" not in notes_of(SPM / "auto.gguf", tmp_path / "a", keep_blocks=False)
    source = edited(SPM / "auto.gguf", tmp_path / "m.gguf", last_first)
    assert "order" in notes_of(source, tmp_path / "b", keep_blocks=False)
    rosetta_ref.convert(source, tmp_path / "c")
    rosetta_ref.convert(tmp_path / "c", tmp_path / "back.gguf")
    with gguf.read(source) as before, gguf.read(tmp_path / "back.gguf") as after:
        assert list(before.metadata) == list(after.metadata)


def test_without_extra_keys_what_stays_behind_is_named(tmp_path: Path) -> None:
    assert "rosetta.files" in notes_of(SPM / "hf", tmp_path / "a.gguf", extra_keys=False)
    (tmp_path / "m.gguf").write_bytes(with_keys((SPM / "auto.gguf").read_bytes(), {"my.key": 7}, pad="my.pad"))
    assert "my.key" in notes_of(tmp_path / "m.gguf", tmp_path / "m.apr", extra_keys=False)


def test_custom_tokenizer_keys_of_an_apr_file_are_named(tmp_path: Path) -> None:
    with apr.read(APR_RUST) as file:
        apr.write(Archive("apr", file.metadata | {"tokenizer.mine": 1, "my_key": 2}, file.tensors), tmp_path / "a.apr")
    rosetta_ref.convert(tmp_path / "a.apr", tmp_path / "a.gguf")

    def rename(metadata: dict[str, Value]) -> dict[str, Value]:
        return metadata | {"general.name": Value.scalar(Kind.STRING, "Other")}

    notes = notes_of(edited(tmp_path / "a.gguf", tmp_path / "b.gguf", rename), tmp_path / "b.apr")
    assert "tokenizer.mine" in notes
    with apr.read(tmp_path / "b.apr") as back:
        assert back.metadata["my_key"] == 2


@pytest.mark.parametrize("content", ['{"a": NaN}', "[]", "{", "[" * 100_000, '{"a": 1, "a": 2}', '"\\ud800"', ""])
def test_an_unreadable_memory_of_an_apr_file_is_refused(content: str, tmp_path: Path) -> None:
    keys = {"rosetta.apr.metadata": content}
    (tmp_path / "m.gguf").write_bytes(with_keys((SPM / "auto.gguf").read_bytes(), keys))
    for target in ("m.apr", "hf"):
        if target == "hf" or content:
            with pytest.raises(RosettaError, match=r"rosetta\.apr\.metadata"):
                rosetta_ref.convert(tmp_path / "m.gguf", tmp_path / target, keep_blocks=False)


def test_an_apr_file_with_names_as_stored_is_no_accident(tmp_path: Path) -> None:
    rosetta_ref.convert(APR_RUST, tmp_path / "a.gguf")
    rosetta_ref.convert(tmp_path / "a.gguf", tmp_path / "b.apr", keep_names=True)
    rosetta_ref.convert(tmp_path / "b.apr", tmp_path / "c.gguf", keep_names=True)
    with gguf.read(tmp_path / "a.gguf") as a, gguf.read(tmp_path / "c.gguf") as c:
        assert {n: t.data.tobytes() for n, t in a.tensors.items()} == {
            n: t.data.tobytes() for n, t in c.tensors.items()
        }


# --- a tokenizer.json that the library refuses


def broken(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "tokenizer.json", change)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["model"].update(merges=[["a", "zzzzz"]]),
        lambda t: t["model"].update(merges=["a"]),
        lambda t: t.update(decoder={"type": "Nonsense"}),
        lambda t: t.update(post_processor={"type": "RobertaProcessing"}),
        lambda t: t["added_tokens"][0].pop("lstrip"),
        lambda t: t.update(truncation=5),
        lambda t: t.pop("pre_tokenizer") and t.update(pre_tokenizer={"type": "ByteLevel"}),
        lambda t: t["model"].update(continuing_subword_prefix="##"),
        lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        lambda t: t["model"]["vocab"].update(twice=0),
    ],
)
def test_a_tokenizer_that_the_library_refuses_is_refused(change: Any, tmp_path: Path) -> None:
    source = directory(tmp_path / "hf", LLAMA3)
    broken(change)(source)
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(source, tmp_path / "m.gguf")
    assert str(caught.value.file) == "tokenizer.json"
    rosetta_ref.convert(source, tmp_path / "m.gguf", keep_names=True)


def test_a_changed_tokenizer_beside_what_was_kept_is_asked_for(tmp_path: Path) -> None:
    rosetta_ref.convert(LLAMA3 / "q8_0.gguf", tmp_path / "hf")
    broken(lambda t: t.update(decoder={"type": "Nonsense"}))(tmp_path / "hf")
    with pytest.raises(RosettaError, match="tokenizers says"):
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")


def test_without_the_library_no_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library.tokenizers_refuses(b"{}") is not None

    def missing(data: bytes) -> None:
        raise library.sandbox.MissingLibraryError("tokenizers is not installed")

    monkeypatch.setattr(library.sandbox, "tokenizers_refuses", missing)
    assert library.tokenizers_refuses(b"{}") is None


@pytest.mark.parametrize(
    "edit", [lambda keys: [*keys, "more"], lambda keys: keys[:-1], lambda keys: keys[::-1], lambda keys: []]
)
def test_a_list_of_keys_that_somebody_edited_is_a_note(edit: Callable[[list[str]], list[str]], tmp_path: Path) -> None:
    with gguf.read(SPM / "auto.gguf") as model:
        keys = edit(list(model.metadata))
    source = remembering(tmp_path / "m.gguf", memory(companions(), keys=keys, encoding={}))
    notes = rosetta_ref.convert(source, tmp_path / "hf").notes
    assert any("the order of the metadata keys is lost" in note for note in notes)


@pytest.mark.parametrize(
    "step",
    [
        {"type": "Replace", "pattern": {"Regex": "[0-9]"}, "content": "▁"},
        {"type": "Replace", "pattern": {"String": "a"}, "content": "b"},
        {"type": "Prepend", "prepend": "x"},
        {"type": "Lowercase"},
    ],
)
def test_a_normalizer_that_gguf_does_not_mean_is_refused(step: dict[str, Any], tmp_path: Path) -> None:
    rosetta_ref.convert(SPM / "auto.gguf", tmp_path / "hf", keep_blocks=False)
    edit_json(tmp_path / "hf" / "tokenizer.json", lambda t: t["normalizer"]["normalizers"].append(step))
    with pytest.raises(RosettaError) as caught:
        rosetta_ref.convert(tmp_path / "hf", tmp_path / "m.gguf")
    assert str(caught.value.file) == "tokenizer.json"
