"""libgguf's row quantiser between gguf-py's reader and writer: GGUF to GGUF.

The program that libgguf ships writes GGUF from SafeTensors, but of diffusion models alone ("Unknown model architecture"). So
this is the loop of its README over the tensors of a file: matrices whose rows are whole blocks are quantised, the rest and all
metadata are carried.
"""

import sys
from pathlib import Path

import gguf
import libgguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

#: Keys that the writer makes itself.
OWN = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture")
#: Types that libgguf writes and does not read.
PLAIN = (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16)


def main(source: str, target: str, kind: str = "") -> None:
    """Convert, each matrix by `libgguf.dequantize_rows` and `quantize_rows`."""
    reader = GGUFReader(source)
    field = reader.get_field("general.architecture")
    writer = GGUFWriter(target, field.contents() if field else "")
    writer.data_alignment = reader.alignment
    for name, one in reader.fields.items():
        if name not in OWN:
            inner = one.types[-1] if one.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, one.contents(), one.types[0], inner)
    for tensor in reader.tensors:
        data, made = np.ascontiguousarray(tensor.data), tensor.tensor_type
        wanted = GGMLQuantizationType[kind] if kind else made
        width = int(tensor.shape[0])
        if wanted != made and len(tensor.shape) > 1 and width % gguf.GGML_QUANT_SIZES[wanted][0] == 0:
            data, made = encoded(data, width, made, wanted), wanted
        writer.add_tensor(tensor.name, data, raw_dtype=made)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def encoded(data: np.ndarray, width: int, made: GGMLQuantizationType, wanted: GGMLQuantizationType) -> np.ndarray:
    """Rows of one type in another one."""
    if made in PLAIN:
        values = gguf.dequantize(data, made)
    else:
        values = libgguf.dequantize_rows(data, libgguf.GGMLQuantizationType(int(made)), n_per_row=width)
    rows = np.ascontiguousarray(values, np.float32).reshape(-1, width)
    if wanted == GGMLQuantizationType.F32:
        return rows.reshape(values.shape)
    made_rows = libgguf.quantize_rows(rows, libgguf.GGMLQuantizationType(int(wanted)))
    return np.ascontiguousarray(made_rows).view(np.uint8).reshape(*values.shape[:-1], -1)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: convert.py SRC DST [TYPE]")
    try:
        main(*sys.argv[1:])
    except (ValueError, NotImplementedError, RuntimeError, KeyError) as error:
        Path(sys.argv[2]).unlink(missing_ok=True)
        sys.exit(f"error: {error}")
