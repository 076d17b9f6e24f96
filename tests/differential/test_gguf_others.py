"""GGUF files against code that nobody here wrote: gguf-py's reader and writer, ggml's own `gguf_*` functions; both ways."""

from __future__ import annotations

import ctypes
import struct
import tempfile
from pathlib import Path
from typing import Any

import gguf as gguf_py
import llama_cpp
import numpy as np
import pytest
from hypothesis import given

from rosetta_ref import RosettaError
from rosetta_ref.archive import Archive, Kind, Tensor, Value
from rosetta_ref.formats import gguf
from rosetta_ref.formats.gguf import errors
from rosetta_ref.quant import TYPES
from rosetta_ref.strategies.gguf import GGML_TYPES, gguf_archives
from tests.support import smollm

_FOLDER = tempfile.TemporaryDirectory()
FILE = Path(_FOLDER.name) / "x.gguf"
#: gguf-py's size of Q8_1 is wrong, and it does not know Q2_0.
PY_TYPES = tuple(
    name for name in GGML_TYPES if TYPES[name].id in [t.value for t in gguf_py.GGMLQuantizationType] and name != "Q8_1"
)

#: Types that gguf-py holds as NumPy arrays of numbers, not of bytes.
PLAIN = ("F32", "F16", "F64", "I8", "I16", "I32", "I64")

# ggml through ctypes


class InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


class MemoryParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


LIB = ctypes.CDLL(str(next((Path(llama_cpp.__file__).parent / "lib").glob("*ggml-base.[sd][oy]*"))))
P, S, I64, INT, SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "gguf_init_from_buffer": (P, (S, SIZE, InitParams)),
    "gguf_init_from_file": (P, (S, InitParams)),
    "gguf_init_empty": (P, ()),
    "gguf_free": (None, (P,)),
    "gguf_write_to_file": (ctypes.c_bool, (P, S, ctypes.c_bool)),
    "gguf_get_alignment": (SIZE, (P,)),
    "gguf_get_data_offset": (SIZE, (P,)),
    "gguf_get_n_kv": (I64, (P,)),
    "gguf_get_key": (S, (P, I64)),
    "gguf_get_kv_type": (INT, (P, I64)),
    "gguf_get_arr_type": (INT, (P, I64)),
    "gguf_get_arr_n": (SIZE, (P, I64)),
    "gguf_get_arr_data": (P, (P, I64)),
    "gguf_get_arr_str": (S, (P, I64, SIZE)),
    "gguf_get_val_data": (P, (P, I64)),
    "gguf_get_val_str": (S, (P, I64)),
    "gguf_get_n_tensors": (I64, (P,)),
    "gguf_get_tensor_name": (S, (P, I64)),
    "gguf_get_tensor_type": (INT, (P, I64)),
    "gguf_get_tensor_size": (SIZE, (P, I64)),
    "gguf_get_tensor_offset": (SIZE, (P, I64)),
    "gguf_get_tensor_ne": (ctypes.POINTER(I64), (P, I64)),
    "gguf_set_val_str": (None, (P, S, S)),
    "gguf_set_arr_data": (None, (P, S, INT, P, SIZE)),
    "gguf_set_arr_str": (None, (P, S, ctypes.POINTER(S), SIZE)),
    "gguf_add_tensor": (None, (P, P)),
    "ggml_init": (P, (MemoryParams,)),
    "ggml_free": (None, (P,)),
    "ggml_new_tensor": (P, (P, INT, INT, ctypes.POINTER(I64))),
    "ggml_set_name": (P, (P, S)),
    "ggml_get_data": (P, (P,)),
}
_NUMBERS: dict[Kind, Any] = {
    Kind.U8: ctypes.c_uint8, Kind.I8: ctypes.c_int8, Kind.U16: ctypes.c_uint16, Kind.I16: ctypes.c_int16,
    Kind.U32: ctypes.c_uint32, Kind.I32: ctypes.c_int32, Kind.F32: ctypes.c_float, Kind.BOOL: ctypes.c_bool,
    Kind.U64: ctypes.c_uint64, Kind.I64: ctypes.c_int64, Kind.F64: ctypes.c_double,
}  # fmt: skip
_SIGNATURES |= {f"gguf_set_val_{kind.name.lower()}": (None, (P, S, number)) for kind, number in _NUMBERS.items()}
for _name, (_result, _arguments) in _SIGNATURES.items():
    getattr(LIB, _name).restype = _result
    getattr(LIB, _name).argtypes = _arguments


def described(archive: Archive) -> tuple[list[Any], list[Any]]:
    """What ggml can say of a file: strings and names as bytes, numbers as their bytes, shapes as ne of four."""
    keys = []
    for key, value in archive.metadata.items():
        texts = [value.data] if value.kind is Kind.STRING else value.data if value.item is Kind.STRING else None
        data = [text.encode() for text in texts] if texts is not None else value.data.tobytes()
        keys.append((key.encode(), int(value.kind), None if value.item is None else int(value.item), data))
    tensors = []
    for tensor in archive.tensors.values():
        ne = (*tensor.shape[::-1], 1, 1, 1, 1)[:4]
        tensors.append((tensor.name.encode(), tensor.type.id, ne, bytes(tensor.data)))
    return keys, tensors


def ggml_key(context: int, i: int) -> Any:
    kind, item, data = LIB.gguf_get_kv_type(context, i), None, None
    if kind == Kind.STRING:
        data = [LIB.gguf_get_val_str(context, i)]
    elif kind == Kind.ARRAY:
        item, count = LIB.gguf_get_arr_type(context, i), LIB.gguf_get_arr_n(context, i)
        if item == Kind.STRING:
            data = [LIB.gguf_get_arr_str(context, i, n) for n in range(count)]
        else:
            size = count * Kind(item).dtype.itemsize
            data = ctypes.string_at(LIB.gguf_get_arr_data(context, i), size) if size else b""
    else:
        data = ctypes.string_at(LIB.gguf_get_val_data(context, i), Kind(kind).dtype.itemsize)
    return LIB.gguf_get_key(context, i), kind, item, data


def read_by_ggml(path: Path, *, from_file: bool = False) -> tuple[list[Any], list[Any]]:
    raw = path.read_bytes()
    params = InitParams(True, None)
    context = (
        LIB.gguf_init_from_file(str(path).encode(), params)
        if from_file
        else LIB.gguf_init_from_buffer(raw, len(raw), params)
    )
    assert context, "ggml refuses the file"
    try:
        keys = [ggml_key(context, i) for i in range(LIB.gguf_get_n_kv(context))]
        start = LIB.gguf_get_data_offset(context)
        tensors = []
        for i in range(LIB.gguf_get_n_tensors(context)):
            at, size = start + LIB.gguf_get_tensor_offset(context, i), LIB.gguf_get_tensor_size(context, i)
            ne = tuple(LIB.gguf_get_tensor_ne(context, i)[:4])
            tensors.append(
                (LIB.gguf_get_tensor_name(context, i), LIB.gguf_get_tensor_type(context, i), ne, raw[at : at + size])
            )
        return keys, tensors
    finally:
        LIB.gguf_free(context)


def write_by_ggml(archive: Archive, path: Path) -> None:
    context = LIB.gguf_init_empty()
    memory = LIB.ggml_init(MemoryParams(16 << 20, None, False))
    try:
        for key, value in archive.metadata.items():
            name = key.encode()
            if value.kind is Kind.STRING:
                LIB.gguf_set_val_str(context, name, value.data.encode())
            elif value.item is Kind.STRING:
                LIB.gguf_set_arr_str(
                    context, name, (S * len(value.data))(*[x.encode() for x in value.data]), len(value.data)
                )
            elif value.kind is Kind.ARRAY:
                LIB.gguf_set_arr_data(context, name, value.item, value.data.tobytes(), len(value.data))
            else:
                number = _NUMBERS[value.kind].from_buffer_copy(value.data.tobytes())
                getattr(LIB, f"gguf_set_val_{value.kind.name.lower()}")(context, name, number)
        for tensor in archive.tensors.values():
            ne = tensor.shape[::-1] or (1,)
            made = LIB.ggml_new_tensor(memory, tensor.type.id, len(ne), (I64 * len(ne))(*ne))
            LIB.ggml_set_name(made, tensor.name.encode())
            ctypes.memmove(LIB.ggml_get_data(made), bytes(tensor.data), tensor.nbytes)
            LIB.gguf_add_tensor(context, made)
        assert LIB.gguf_write_to_file(context, str(path).encode(), False)
    finally:
        LIB.ggml_free(memory)
        LIB.gguf_free(context)


def without_empty_arrays(archive: Archive) -> Archive:
    """Neither ggml nor gguf-py writes one: the first aborts, the second leaves the key out."""
    kept = {key: value for key, value in archive.metadata.items() if value.kind is not Kind.ARRAY or len(value.data)}
    return Archive("gguf", kept, archive.tensors)


def without_nul(archive: Archive) -> Archive:
    """C ends strings at a NUL."""
    for key, value in archive.metadata.items():
        if value.kind is Kind.STRING:
            archive.metadata[key] = Value(Kind.STRING, value.data.replace("\0", "0"))
        if value.item is Kind.STRING:
            archive.metadata[key] = Value.array(Kind.STRING, [text.replace("\0", "0") for text in value.data])
    return archive


@given(gguf_archives().map(without_nul))
def test_ggml_reads_what_is_written(archive: Archive) -> None:
    gguf.write(archive, FILE)
    assert read_by_ggml(FILE) == described(archive)
    assert read_by_ggml(FILE, from_file=True) == described(archive)


def as_ggml_can_write(archive: Archive) -> Archive:
    """Without what its writer cannot do.

    It aborts on tensors without bytes. `gguf_set_val_u32` sets the alignment's key and goes on with the alignment that it had:
    the file contradicts itself.
    """
    archive = without_empty_arrays(without_nul(archive))
    archive.metadata.pop("general.alignment", None)
    return Archive("gguf", archive.metadata, {name: t for name, t in archive.tensors.items() if t.nbytes})


@given(gguf_archives(max_tensors=4).map(as_ggml_can_write))
def test_what_ggml_writes_is_read(archive: Archive) -> None:
    write_by_ggml(archive, FILE)
    with gguf.read(FILE) as again:
        assert described(again) == described(archive)
        assert not again.notes


SMALL = Archive(
    "gguf",
    {
        "general.alignment": Value.scalar(Kind.U32, 64),
        "k": Value.scalar(Kind.STRING, "é"),
        "t": Value.array(Kind.STRING, ["a", "b"]),
        "n": Value.array(Kind.I16, [1, -1]),
        "b": Value.scalar(Kind.BOOL, True),
    },
    {
        "q": Tensor.of("q", TYPES["Q4_0"], (2, 32), bytes(range(36))),
        "f": Tensor.of("f", TYPES["F32"], (3,), bytes(range(12))),
    },
)


def test_a_changed_byte_is_judged_as_by_ggml() -> None:
    """Whatever is read strictly, ggml reads; whatever ggml reads is read leniently. On every change of a byte.

    But for one thing: without memory for tensors (with it, it aborts on some files) ggml does not look at where data ends.
    """
    gguf.write(SMALL, FILE)
    raw = FILE.read_bytes()
    tables = raw.index(bytes(range(36)))
    both = neither = 0
    for place in range(tables):
        for value in {0, 1, 3, raw[place] ^ 0x80, raw[place] ^ 1, 0xFF} - {raw[place]}:
            FILE.write_bytes(raw[:place] + bytes([value]) + raw[place + 1 :])
            by_ggml, strictly, leniently = accepted_by_ggml(), refusal(lenient=False), refusal(lenient=True)
            if strictly is None:
                assert by_ggml, (place, value)
            if by_ggml:
                assert leniently in (None, errors.TruncatedDataError), (place, value)
            both += by_ggml and leniently is None
            neither += not by_ggml and leniently is not None
    assert min(both, neither) > 100


def accepted_by_ggml() -> bool:
    raw = FILE.read_bytes()
    context = LIB.gguf_init_from_buffer(raw, len(raw), InitParams(True, None))
    LIB.gguf_free(context)
    return bool(context)


def refusal(*, lenient: bool) -> type[RosettaError] | None:
    try:
        gguf.read(FILE, lenient=lenient).close()
    except RosettaError as error:
        return type(error)
    return None


# gguf-py


def field_data(field: gguf_py.ReaderField) -> Any:
    """Strings as bytes, numbers as their bytes."""
    if field.types[-1] is gguf_py.GGUFValueType.STRING:
        return [bytes(field.parts[i]) for i in field.data]
    return b"".join(field.parts[i].tobytes() for i in field.data)


def read_by_gguf_py(path: Path) -> tuple[list[Any], list[Any]]:
    """As `described`, but that gguf-py does not tell of what kind the items of an empty array are."""
    reader = gguf_py.GGUFReader(path)
    keys = []
    for key, field in list(reader.fields.items())[3:]:  # the first three are the header's
        is_array = field.types[0] is gguf_py.GGUFValueType.ARRAY
        item = int(field.parts[3][0]) if is_array else None  # parts: key length, key, kind, kind of the items
        data = [] if item == Kind.STRING and not len(field.data) else field_data(field)
        keys.append((key.encode(), int(field.types[0]), item, data))
    tensors = []
    for tensor in reader.tensors:
        ne = (*tensor.shape.tolist(), 1, 1, 1, 1)[:4]
        tensors.append((tensor.name.encode(), int(tensor.tensor_type), ne, tensor.data.tobytes()))
    return keys, tensors


def no_bf16_scalars(archive: Archive) -> bool:
    """The one thing that gguf-py's reader cannot do: a BF16 tensor without dimensions is an IndexError there."""
    return all(tensor.shape or tensor.type.name in PLAIN for tensor in archive.tensors.values())


@given(gguf_archives(types=PY_TYPES).filter(no_bf16_scalars))
def test_gguf_py_reads_what_is_written(archive: Archive) -> None:
    gguf.write(archive, FILE)
    assert read_by_gguf_py(FILE) == described(archive)


def write_by_gguf_py(archive: Archive, path: Path, order: gguf_py.GGUFEndian = gguf_py.GGUFEndian.LITTLE) -> None:
    writer = gguf_py.GGUFWriter(path, "llama", endianess=order)
    writer.kv_data[0].clear()  # the writer adds general.architecture by itself
    for key, value in archive.metadata.items():
        item = None if value.item is None else gguf_py.GGUFValueType(value.item)
        writer.add_key_value(key, value.plain(), gguf_py.GGUFValueType(value.kind), item)
        if key == "general.alignment":
            writer.data_alignment = value.plain()
    for tensor in archive.tensors.values():
        kind = gguf_py.GGMLQuantizationType(tensor.type.id)
        array = np.array(tensor.data)
        if order is gguf_py.GGUFEndian.BIG:
            array = array.view(np.dtype(f"i{tensor.type.block_bytes}")).reshape(tensor.shape)
        elif tensor.shape:
            row = tensor.shape[-1] // tensor.type.elements * tensor.type.block_bytes
            array = array.reshape((*tensor.shape[:-1], row))
        writer.add_tensor(tensor.name, array, raw_shape=array.shape if tensor.shape else (), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def numbers_survive(archive: Archive) -> Archive:
    """Python's floats are doubles: a float32 NaN does not keep its payload through gguf-py's writer."""
    for key, value in archive.metadata.items():
        for kind, number in ((value.kind, value.data), (value.item, value.data)):
            if kind is Kind.F32:
                data = np.nan_to_num(number)
                archive.metadata[key] = Value(value.kind, data if value.item else np.float32(data), value.item)
    return archive


WITHOUT_SCALARS = gguf_archives(types=PY_TYPES, max_tensors=4).filter(
    lambda archive: all(tensor.shape for tensor in archive.tensors.values())
)


@given(WITHOUT_SCALARS.map(without_empty_arrays).map(numbers_survive))
def test_what_gguf_py_writes_is_read(archive: Archive) -> None:
    write_by_gguf_py(archive, FILE)
    with gguf.read(FILE) as again:
        assert described(again) == described(archive)
        assert [tensor.shape for tensor in again.tensors.values()] == [t.shape for t in archive.tensors.values()]
        assert not again.notes


@given(gguf_archives(types=PLAIN, max_tensors=3).map(without_empty_arrays).map(numbers_survive))
def test_what_gguf_py_writes_big_endian_is_read(archive: Archive) -> None:
    write_by_gguf_py(archive, FILE, gguf_py.GGUFEndian.BIG)
    assert FILE.read_bytes()[4:8] == struct.pack(">I", 3)
    with gguf.read(FILE) as again:
        assert described(again) == described(archive)


def test_split_files_of_gguf_py(tmp_path: Path) -> None:
    writer = gguf_py.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    arrays = {f"t{i}": np.arange(6, dtype=np.float32).reshape(2, 3) + i for i in range(5)}
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    for path in paths:
        with gguf.read(path) as archive:
            assert list(archive.metadata) == ["general.architecture"]
            assert {name: tensor.values().tobytes() for name, tensor in archive.tensors.items()} == {
                name: array.tobytes() for name, array in arrays.items()
            }


def test_the_real_model_is_read_as_by_ggml_and_written_byte_for_byte(tmp_path: Path) -> None:
    path = smollm.variant("Q4_1")
    with gguf.read(path) as archive:
        assert read_by_ggml(path) == described(archive)
        assert len(archive.tensors) == 272
        gguf.write(archive, tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", PY_TYPES)
def test_sizes_are_those_of_gguf_py(name: str) -> None:
    elements, size = gguf_py.GGML_QUANT_SIZES[gguf_py.GGMLQuantizationType(TYPES[name].id)]
    assert (TYPES[name].elements, TYPES[name].block_bytes) == (elements, size)
