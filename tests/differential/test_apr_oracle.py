"""APR files against the crate `apr-format` itself: it reads what is written here, and what it writes is read here.

The oracle (`apr_oracle/`) is a Rust program, built once and kept in a cache; without cargo, or without a way to
fetch the crate, these tests are skipped and the golden files stand in for them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from rosetta_ref.archive import Archive, Tensor
from rosetta_ref.formats import apr
from rosetta_ref.formats.apr import errors
from rosetta_ref.quant import TYPES
from rosetta_ref.strategies import apr as some

SOURCE = Path(__file__).with_name("apr_oracle")
#: The dtype codes of the specification, once more: the writer's own table is under test here.
CODES = {
    0: "F32", 1: "F16", 3: "F64", 4: "I32", 5: "I64", 6: "I8", 7: "U8", 12: "Q4_K", 14: "Q6_K", 30: "BF16", 128: "AprQ4",
    129: "AprQ8",
}  # fmt: skip


def build() -> Path:
    """The oracle's executable; one process builds it, others wait."""
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rosetta-ref" / "apr-oracle"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # In a copy: cargo writes its lock file beside Cargo.toml, and that is no part of the tree.
        source = shutil.copytree(SOURCE, cache / "source", dirs_exist_ok=True)
        done = subprocess.run(
            ["cargo", "build", "--release", "--quiet"],
            cwd=source,
            env={**os.environ, "CARGO_TARGET_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
    offline = (
        "failed to download",
        "failed to get",
        "Could not resolve",
        "Unable to update registry",
        "spurious network",
    )
    if done.returncode and any(word in done.stderr for word in offline):
        pytest.skip("the crate apr-format cannot be fetched")
    assert done.returncode == 0, done.stderr
    return cache / "release" / "apr-oracle"


@pytest.fixture(scope="session")
def oracle():
    program = build()

    def run(*words):
        done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(done.stderr.strip())
        return json.loads(done.stdout) if words[0] == "dump" else None

    return run


def as_rust_sees(metadata):
    """JSON metadata after a way through the other reader: defaults filled in, nulls of typed keys gone, f32 as such."""
    typed = {key for keys in some.TYPED_KEYS.values() for key in keys}
    kept = {key: value for key, value in metadata.items() if not (key in typed and value is None)}
    always = {
        "model_type": "",
        "license": None,
        "data_source": None,
        "data_license": None,
        "total_size": 0,
        "param_count": 0,
    }
    floats = {key: float(np.float32(kept[key])) for key in ("rope_theta", "rms_norm_eps") if key in kept}
    return always | kept | floats


def assert_json_close(found, expected):
    """Equal, but for the last bit of a float: serde's fast float parser may miss it."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for key in expected:
            assert_json_close(found[key], expected[key])
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_json_close(one, other)
    elif isinstance(expected, float):
        assert np.isclose(found, expected, rtol=1e-15, atol=0)
    else:
        assert found == expected


@settings(max_examples=25)
@given(archive=some.archives())
def test_the_crate_reads_what_is_written_here(archive, tmp_path_factory, oracle):
    path = tmp_path_factory.mktemp("apr") / "a.apr"
    apr.write(archive, path)
    said = oracle("dump", path)
    assert said["checksum_ok"]
    assert said["aligned"]
    assert said["required"] + 4 == said["file_size"]
    metadata = dict(said["metadata"])
    true_types = metadata.pop("rosetta.ggml_types", {})
    assert_json_close(as_rust_sees(metadata), as_rust_sees(archive.metadata))
    assert [t["name"] for t in said["tensors"]] == sorted(archive.tensors, key=str.encode)
    for entry in said["tensors"]:
        tensor = archive.tensors[entry["name"]]
        assert bytes.fromhex(entry["hex"]) == tensor.data.tobytes()
        if tensor.type.name in CODES.values():
            assert (CODES[entry["dtype"]], entry["shape"]) == (tensor.type.name, list(tensor.shape))
        else:
            assert (CODES[entry["dtype"]], entry["shape"][:-1]) == ("U8", list(tensor.shape[:-1]))
            assert true_types[entry["name"]] == {"type": tensor.type.name, "shape": list(tensor.shape)}


@pytest.mark.parametrize("command", ["write", "stream"])
@settings(max_examples=12)
@given(archive=some.archives(types=tuple(CODES.values())))
def test_what_the_crate_writes_is_read_here(command, archive, tmp_path_factory, oracle):
    folder = tmp_path_factory.mktemp("apr")
    codes = {name: code for code, name in CODES.items()}
    tensors = [
        {"name": name, "dtype": codes[t.type.name], "shape": list(t.shape), "hex": t.data.tobytes().hex()}
        for name, t in archive.tensors.items()
    ]
    (folder / "spec.json").write_text(json.dumps({"metadata": archive.metadata, "tensors": tensors}))
    oracle(command, folder / "spec.json", folder / "a.apr")
    with apr.read(folder / "a.apr") as back:
        assert back.notes == []
        assert_json_close(as_rust_sees(back.metadata), as_rust_sees(archive.metadata))
        assert back.tensors.keys() == archive.tensors.keys()
        for name, tensor in archive.tensors.items():
            found = back.tensors[name]
            assert (found.type.name, found.shape) == (tensor.type.name, tensor.shape)
            assert found.data.tobytes() == tensor.data.tobytes()


def test_the_crate_accepts_what_is_refused_here(tmp_path, oracle):
    """A size that does not fit passes the crate's reader: the check is this project's own."""
    tensor = {"name": "a", "dtype": 0, "shape": [256, 256], "hex": "00" * 45056}
    (tmp_path / "spec.json").write_text(json.dumps({"metadata": {}, "tensors": [tensor]}))
    oracle("write", tmp_path / "spec.json", tmp_path / "a.apr")
    assert oracle("dump", tmp_path / "a.apr")["tensors"][0]["size"] == 45056
    with pytest.raises(errors.SizeMismatchError, match="Q5_0, Q5_K would fit"):
        apr.read(tmp_path / "a.apr")


@pytest.mark.parametrize("wrong", [{"hidden_size": "x"}, {"model_type": None}, {"param_count": None}, {"name": 1}])
def test_the_crate_cannot_read_metadata_that_the_writer_refuses(tmp_path, oracle, wrong):
    tensor = Tensor.of("a", TYPES["U8"], (1,), b"\1")
    with pytest.raises(errors.MetadataTypeError):
        apr.write(Archive("apr", wrong, {"a": tensor}), tmp_path / "refused.apr")
    (tmp_path / "spec.json").write_text(json.dumps({"metadata": wrong, "tensors": []}))
    with pytest.raises(ValueError, match=r"Metadata error|invalid type"):
        oracle("write", tmp_path / "spec.json", tmp_path / "a.apr")
