"""GGUF taken apart (`sketch`), one key, tensor line or number of it changed, and put together again."""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable

from rosetta_ref.campaigns.mutate import junk, raw, trees
from rosetta_ref.campaigns.mutate.sketch import ALIGNMENT, ARRAY, SIZES, STRING, Info, Key, Sketch, text_at

_U8, _U32 = 0, 4
#: Keys that change how a file is read, or what it means.
_KEYS = (
    ALIGNMENT, b"split.no", b"split.count", b"split.tensors.count", b"general.architecture", b"general.type",
    b"tokenizer.ggml.model", b"tokenizer.ggml.tokens", b"tokenizer.ggml.pre", b"tokenizer.chat_template", b"rosetta.files",
    b"rosetta.safetensors", b"rosetta.digest", b"rosetta.file.conftest.py", b"rosetta.file.model.safetensors", b"llama.block_count",
    b"llama.rope.scaling.type", b"llama.expert_count", b"tokenizer.ggml.unknown_token_id", b"rosetta.apr.metadata", b"",
)  # fmt: skip
_ALIGNMENTS = (0, 1, 2, 3, 4, 7, 8, 16, 33, 64, 256, 4096, 65536, 65537, 1 << 17, 1 << 24, 1 << 31, (1 << 32) - 1)


# One change each. They return a word for what was done.


def _number(rng: random.Random, sketch: Sketch) -> bytes:
    """Any number of the header and the tables, at an edge of its range."""
    data, numbers = sketch.joined()
    for _ in range(rng.choice((1, 1, 1, 2))):
        at, code = rng.choice(numbers)
        size = struct.calcsize(code)
        order = "little" if sketch.order == "<" else "big"
        old = int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]
        others = tuple(
            struct.unpack_from(sketch.order + code, data, place)[0] for place, c in numbers[:40] if c == code
        )
        new = junk.number(rng, old, 8 * size, (*others, len(data)))
        data = data[:at] + new.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]
    return data


def _key(rng: random.Random, sketch: Sketch) -> bytes:
    """Keys twice, away, in another order, of another name, or further ones."""
    draw, keys = rng.randrange(6), sketch.keys
    if draw == 0 and keys:
        keys.insert(rng.randrange(len(keys)), rng.choice(keys))
    elif draw == 1 and keys:
        keys.pop(rng.randrange(len(keys)))
    elif draw == 2:
        rng.shuffle(keys)
    elif draw == 3 and keys:
        rng.choice(keys).name = rng.choice((junk.raw_text(rng), rng.choice(_KEYS), rng.choice(keys).name))
    elif draw == 4 and rng.random() < 0.05:
        keys += [Key(b"k%d" % i, _U8, b"\1") for i in range(rng.choice((100, 5_000, 70_000)))]
    else:
        kind, made = _any_value(rng, sketch)
        keys.append(Key(rng.choice((*_KEYS, junk.raw_text(rng))), kind, made))
    return sketch.joined()[0]


def _value(rng: random.Random, sketch: Sketch) -> bytes:
    """A key's value is another one, perhaps of another kind."""
    if sketch.keys:
        key = rng.choice(sketch.keys)
        if rng.random() < 0.3 and key.kind == STRING:
            key.value = sketch.text(junk.raw_text(rng))
        elif rng.random() < 0.3:
            key.kind, key.value = (other := rng.choice(sketch.keys)).kind, other.value
        else:
            key.kind, key.value = _any_value(rng, sketch)
    return sketch.joined()[0]


def _any_value(rng: random.Random, sketch: Sketch) -> tuple[int, bytes]:
    draw, order = rng.random(), sketch.order
    if draw < 0.3:
        return STRING, sketch.text(junk.raw_text(rng))
    if draw < 0.6:
        kind = rng.choice(list(SIZES))
        return kind, junk.number(rng, 1, 8 * SIZES[kind]).to_bytes(SIZES[kind], "little" if order == "<" else "big")
    if draw < 0.7:  # arrays in arrays
        depth = rng.choice((1, 2, 63, 64, 65, 1000, 20_000))
        return ARRAY, struct.pack(order + "IQ", ARRAY, 1) * depth + struct.pack(order + "IQI", _U32, 1, 7)
    if draw < 0.85:
        texts = [sketch.text(junk.raw_text(rng)) for _ in range(rng.choice((0, 1, 3, 300)))]
        return ARRAY, (struct.pack(order + "IQ", STRING, len(texts)) + b"".join(texts))[: raw.MOST]
    kind = rng.choice(list(SIZES))
    count = rng.choice((0, 1, 7, 300, 20_000))
    return ARRAY, struct.pack(order + "IQ", kind, count) + rng.randbytes(SIZES[kind]) * count


def _array(rng: random.Random, sketch: Sketch) -> bytes:
    """Items of an array of strings: another text, twice, away."""
    found = [
        key for key in sketch.keys if key.kind == ARRAY and key.value[:4] == struct.pack(sketch.order + "I", STRING)
    ]
    if not found:
        return _value(rng, sketch)
    key = rng.choice(found)
    (count,) = struct.unpack_from(sketch.order + "Q", key.value, 4)
    items, at = [], 12
    for _ in range(count):
        item, at = text_at(key.value, at, sketch.order)
        items.append(item)
    where = rng.randrange(len(items) + 1)
    items[where : where + rng.choice((0, 1, 1))] = rng.choice(
        (
            [junk.raw_text(rng)],
            [],
            items[:1] * 3,
            [b"a" * rng.choice((1, 20_000, 400_000))],
            [junk.name(rng).encode("utf-8", "replace")],
        )
    )
    key.value = struct.pack(sketch.order + "IQ", STRING, len(items)) + b"".join(map(sketch.text, items))
    return sketch.joined()[0]


def _tensor(rng: random.Random, sketch: Sketch) -> bytes:
    """Lines of the tensor table twice, away, in another order, of other names, shapes, types and places."""
    infos = sketch.infos
    if not infos:
        return _key(rng, sketch)
    draw, info, other = rng.randrange(9), rng.choice(infos), rng.choice(infos)
    if draw == 0:
        infos.insert(rng.randrange(len(infos)), info)
    elif draw == 1:
        infos.remove(info)
    elif draw == 2:
        rng.shuffle(infos)
    elif draw == 3:
        info.name = rng.choice(
            (
                junk.raw_text(rng),
                other.name,
                b"n" * rng.choice((63, 64, 65)),
                other.name + b"\0",
                b"blk.9.attn_q.weight",
            )
        )
    elif draw == 4:
        info.ne = rng.choice((info.ne[::-1], other.ne, [*info.ne, 1], [1, *info.ne], [], [math.prod(info.ne)], [*info.ne, 0],
         [1] * 33,
                              [2**32, 2**32], [*info.ne[:-1], 2**63]))  # fmt: skip
    elif draw == 5:
        info.type = rng.choice((*range(42), 1000, 2**31, 2**32 - 1, other.type))
    elif draw == 6:
        info.offset = rng.choice(
            (other.offset, info.offset + sketch.alignment, info.offset + 1, 2**63, 2**64 - 32, len(sketch.data))
        )
    elif draw == 7 and rng.random() < 0.05:
        infos += [Info(b"t%d" % i, [0], 0, len(sketch.data)) for i in range(rng.choice((200, 20_000)))]
    else:
        info.offset, other.offset = other.offset, info.offset
    return sketch.joined()[0]


def _alignment(rng: random.Random, sketch: Sketch) -> bytes:
    """Another alignment, with the file laid out for it or not."""
    number = rng.choice(_ALIGNMENTS)
    old = sketch.alignment
    sketch.keys[:] = [key for key in sketch.keys if key.name != ALIGNMENT]
    sketch.keys.insert(0, Key(ALIGNMENT, _U32, struct.pack(sketch.order + "I", number)))
    if rng.random() < 0.6 and 0 < number <= 1 << 17:
        sketch.alignment = number
        if rng.random() < 0.7 and number % max(old, 1) == 0 and len(sketch.infos) * number < raw.MOST:
            _laid_out(sketch, number)
    return sketch.joined()[0]


def _laid_out(sketch: Sketch, alignment: int) -> None:
    """The data once more, each tensor at a multiple of the alignment."""
    made, bounds = bytearray(), sorted({info.offset for info in sketch.infos} | {len(sketch.data)})
    for info in sorted(sketch.infos, key=lambda info: info.offset):
        stop = next((bound for bound in bounds if bound > info.offset), len(sketch.data))
        piece = sketch.data[info.offset : stop]
        info.offset = len(made)
        made += piece + bytes(-len(piece) % alignment)
    sketch.data = bytes(made)


def _padding(rng: random.Random, sketch: Sketch) -> bytes:
    """Padding that is not zeros, too long, or missing; bytes behind the end."""
    draw = rng.randrange(4)
    if draw == 0:
        sketch.extra["padding"] = rng.randrange(1, 256)
    elif draw == 1:
        sketch.data = sketch.data.rstrip(b"\0")
    elif draw == 2:
        sketch.data += bytes(rng.choice((1, 32, 4096, 300_000)))
    else:
        sketch.data = bytes(rng.choice((1, 32))) + sketch.data
    return sketch.joined()[0]


def _numbers_of_data(rng: random.Random, sketch: Sketch) -> bytes:
    """NaN, Inf and large numbers in the weights."""
    data = bytearray(sketch.data)
    for _ in range(rng.choice((1, 3, 50))):
        if len(data) > 4:
            at = rng.randrange(len(data) // 4) * 4
            data[at : at + 4] = rng.choice(
                (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0", b"\0\x7c\0\xfc")
            )
    sketch.data = bytes(data)
    return sketch.joined()[0]


def _remembered(rng: random.Random, sketch: Sketch) -> bytes:
    """The keys under `rosetta.`: other companions, of other names, with other bytes, or a bomb."""
    files, listed = sketch.find(b"rosetta.file."), sketch.find(b"rosetta.files")
    draw = rng.randrange(5)
    if not files:
        return _add_remembered(rng, sketch)
    key = rng.choice(files)
    if draw == 0:  # its text, inflated and changed
        inflated = zlib.decompress(key.value[12:])
        made = (trees.mutate if key.name.endswith(b".json") else raw.mutate)(rng, inflated)[0]
        packed = zlib.compress(made, 1)
    elif draw == 1:
        packed = zlib.compress(bytes(rng.choice((1 << 16, 1 << 21, 1 << 24))), 9)
    elif draw == 2:
        packed = raw.mutate(rng, key.value[12:])[0]
    else:
        old = key.name.removeprefix(b"rosetta.file.")
        new = junk.name(rng).encode("utf-8", "surrogatepass")
        key.name = b"rosetta.file." + new
        for each in listed if rng.random() < 0.9 else ():
            each.value = each.value.replace(sketch.text(old), sketch.text(new))
        packed = key.value[12:]
    key.value = struct.pack(sketch.order + "IQ", _U8, len(packed)) + packed
    return sketch.joined()[0]


def _add_remembered(rng: random.Random, sketch: Sketch) -> bytes:
    names = [junk.name(rng).encode("utf-8", "surrogatepass") for _ in range(rng.choice((1, 2)))]
    packed = zlib.compress(b"planted")
    for each in names:
        value = struct.pack(sketch.order + "IQ", _U8, len(packed)) + packed
        sketch.keys.append(Key(b"rosetta.file." + each, ARRAY, value))
    texts = b"".join(map(sketch.text, names))
    sketch.keys.append(Key(b"rosetta.files", ARRAY, struct.pack(sketch.order + "IQ", STRING, len(names)) + texts))
    return sketch.joined()[0]


def _json_text(rng: random.Random, sketch: Sketch) -> bytes:
    """A string that holds JSON (what a directory was like, an APR file's keys), changed as JSON."""
    found = [
        key for key in sketch.keys if key.kind == STRING and key.value[8:9] in (b"{", b"[") and b"rosetta" in key.name
    ]
    if not found:
        return _value(rng, sketch)
    key = rng.choice(found)
    key.value = sketch.text(trees.mutate(rng, key.value[8:])[0])
    return sketch.joined()[0]


_ALL: tuple[Callable[[random.Random, Sketch], bytes], ...] = (
    _number, _number, _number, _key, _value, _value, _array, _tensor, _tensor, _alignment, _padding, _numbers_of_data,
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> tuple[bytes, str]:
    """Change a GGUF file; what was done."""
    if rng.random() < 0.85:
        try:
            sketch = Sketch.of(data)
            ours = _remembered if rng.random() < 0.6 else _json_text
            how = ours if sketch.find(b"rosetta.") and rng.random() < 0.4 else rng.choice(_ALL)
            return how(rng, sketch)[: raw.MOST], f"gguf{how.__name__.replace('_', '/', 1)}"
        except (struct.error, ValueError, IndexError, KeyError, OverflowError, zlib.error, MemoryError):
            pass
    return raw.mutate(rng, data)
