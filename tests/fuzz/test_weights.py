"""Randomly damaged files of weights: each gives arrays or one line of error."""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.fuzz.mutations import EDGES, accepted, cases, mutated, mutated_tree
from tinygrad_lab.weights import import_weights, load_weights, read_arrays
from tinygrad_lab_layers.dense import Dense

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:Reading `.npy` or `.npz` file:UserWarning",  # as Python 2 wrote them
        "ignore:Duplicate name:UserWarning",
    ),
]

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.zeros(3, np.float32),
    "step": np.array(7),
    "mask": np.array([True, False]),
    "long": np.zeros(5000, np.float64),
}
HEADER_PARTS = (
    "'<f4'", "'O'", "'|S5'", "'V0'", "[('a', '<f4')]", "'M8'", "True", "None", "(2, 3)", "()", "(3)", "(-1,)",
    f"({2**62}, 4)", f"(0, {2**62}, 8)", f"({'1, ' * 65})", "(3L,)", "(0, 2**62)", "(" * 500, "-" * 5000 + "1",
    "[[]]" * 300, "9" * 5000, "{", "'", "\\", "\x00", "1e9", "(2.0,)", "('x',)",
)  # fmt: skip


def weights(rng: random.Random) -> tuple[str, bytes]:
    """Return a file's suffix and its damaged content."""
    match rng.randrange(6):
        case 0:
            return "safetensors", mutated(save(ARRAYS), rng)
        case 1:
            return "safetensors", safetensors(rng)
        case 2 | 3:
            packed = io.BytesIO()
            (np.savez, np.savez_compressed)[rng.randrange(2)](packed, **ARRAYS)  # type: ignore[arg-type]  # by name
            return "npz", mutated(packed.getvalue(), rng)
        case _:
            return "npz", npz(rng)


def safetensors(rng: random.Random) -> bytes:
    content = save(ARRAYS)
    (length,) = struct.unpack("<Q", content[:8])
    header = mutated_tree(json.loads(content[8 : 8 + length]), rng)
    for tensor in header.values() if isinstance(header, dict) else ():
        if isinstance(tensor, dict) and rng.random() < 0.3:
            tensor["shape"] = rng.choice(([0, 2**62, 8], [1] * 65, [0] * 70, [2**63, 2], [2, 3], [0, 2**64], [1.0]))
    text = json.dumps(header, default=str).encode("utf-8", "replace")
    length = len(text) if rng.random() < 0.9 else rng.choice(EDGES)
    return struct.pack("<Q", length) + text + content[8 + length :]


def npz(rng: random.Random) -> bytes:
    """Return an archive of undamaged members, some of which are not arrays or have wrong headers."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(rng.randint(0, 4)):
            name = rng.choice((f"weight{number}.npy", "bias.npy", "readme.txt", "", "/", "a\n.npy", "x" * 60_000))
            kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            archive.writestr(zipfile.ZipInfo(name), npy(rng), kind)
    content = bytearray(packed.getvalue())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags; 2 bytes further, the compression
        if (found := content.find(mark)) >= 0 and rng.random() < 0.3:
            content[found + place + rng.choice((0, 2))] ^= rng.choice((0x1, 0x20, 0x40, 0xFF))
    return bytes(content)


def npy(rng: random.Random) -> bytes:
    header = {"'descr'": "'<f4'", "'fortran_order'": "False", "'shape'": "(2, 3)"}
    for key in rng.sample(sorted(header), rng.randint(0, 2)):
        header[key] = rng.choice(HEADER_PARTS)
    text = "{" + ", ".join(f"{key}: {value}" for key, value in header.items()) + "}\n"
    encoded = text.encode()
    version = rng.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x00\x00"))
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(encoded) if rng.random() < 0.9 else 65535)
    return b"\x93NUMPY" + version + size + encoded + bytes(rng.choice((24, 24, 24, 0, 23, 100_000)))


def test_damaged_weights(tmp_path: Path) -> None:
    taken = 0
    for case in cases(600):
        rng = random.Random(case)
        ending, content = weights(rng)
        path = tmp_path / f"{case}.{ending}"
        path.write_bytes(content)
        read = functools.cache(functools.partial(read_arrays, path))
        if accepted(read, case):
            taken += 1
            assert all(isinstance(array, np.ndarray) and array.dtype != object for array in read().values()), case
        model = Dense(2, 3, rng=0)
        before = model.state()
        load = load_weights if ending == "safetensors" else import_weights
        if not accepted(functools.partial(load, model, path), case):
            assert all(np.array_equal(array, before[name]) for name, array in model.state().items()), case
        path.unlink()
    assert taken, "some files are still whole"
