"""Randomly damaged data files: batches of CIFAR, IDX files, pictures, archives."""

from __future__ import annotations

import functools
import gzip
import io
import pickle
import random
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.made import GLOBALS, cifar_batch, data_file, idx, random_images
from tests.fuzz.mutations import EDGES, accepted, cases, mutated
from tinygrad_lab.data.archives import extract_tar
from tinygrad_lab.data.files import gunzip
from tinygrad_lab.data.sources import ImageFolder
from tinygrad_lab.data.sources.idx import parse_idx
from tinygrad_lab.data.sources.restricted_pickle import read_pickle

pytestmark = pytest.mark.slow

BATCH = cifar_batch(random_images(2, 32, 32, 3), [3, 7])
ARGUMENTS = {  # for each opcode with an argument, a function that returns the argument as bytes
    "U": lambda rng: _sized("<B", rng), "T": lambda rng: _sized("<i", rng), "X": lambda rng: _sized("<I", rng),
    "\x8c": lambda rng: _sized("<B", rng), "B": lambda rng: _sized("<I", rng), "C": lambda rng: _sized("<B", rng),
    "\x8e": lambda rng: _sized("<Q", rng), "\x96": lambda rng: _sized("<Q", rng), "\x8d": lambda rng: _sized("<Q", rng),
    "\x8a": lambda rng: _sized("<B", rng), "\x8b": lambda rng: _sized("<i", rng), "K": lambda rng: rng.randbytes(1),
    "M": lambda rng: rng.randbytes(2), "J": lambda rng: rng.randbytes(4), "G": lambda rng: rng.randbytes(8),
    "q": lambda rng: bytes([rng.randrange(6)]), "h": lambda rng: bytes([rng.randrange(6)]),
    "r": lambda rng: struct.pack("<I", rng.choice((0, 1, 2**32 - 1))), "i": lambda rng: b"os\nsystem\n",
    "j": lambda rng: struct.pack("<I", rng.randrange(6)), "p": lambda rng: b"0\n",
    "g": lambda rng: b"0\n", "I": lambda rng: b"9" * rng.choice((1, 5000)) + b"\n",
    "L": lambda rng: b"9" * rng.choice((1, 5000)) + b"L\n", "F": lambda rng: b"nan\n", "S": lambda rng: b"'a'\n",
    "V": lambda rng: b"a\n", "\x80": lambda rng: bytes([rng.randrange(7)]), "\x95": lambda rng: _sized("<Q", rng),
    "c": lambda rng: rng.choice((*(name[1:] for name in GLOBALS.values()), b"os\nsystem\n")),
}  # fmt: skip
OPCODES = sorted({code for name in dir(pickle) if name.isupper() and isinstance(code := getattr(pickle, name), bytes)
                  and len(code) == 1})  # fmt: skip


def _sized(form: str, rng: random.Random) -> bytes:
    """Return a length, right in four cases of five, and the bytes that it counts."""
    content = rng.randbytes(rng.choice((0, 1, 2, 200)))
    most = 2 ** (8 * struct.calcsize(form) - form.endswith("i")) - 1
    return struct.pack(form, len(content) if rng.random() < 0.8 else min(most, rng.choice(EDGES))) + content


def laughing(rng: random.Random) -> bytes:
    """Return a pickle of lists and tuples that contain previous ones, some twice; tuples may be keys."""
    parts = [b"\x80\x02}"]
    for number in range(rng.choice((3, 12, 60))):
        others = [b"h" + bytes([rng.randrange(number)]) for _ in range(rng.choice((1, 2, 9)))] if number else [b"K\x01"]
        begin, end = rng.choice(((b"](", b"e"), (b"](", b"e"), (b"(", b"t"), (b"](U\xc8" + bytes(200), b"e")))
        key = b"U\x01" + bytes([number]) if number == 0 or rng.random() < 0.99 else others[0]
        parts.append(key + begin + b"".join(others) + end + b"q" + bytes([number]) + b"s")
    return b"".join(parts) + b"."


def pickled(rng: random.Random) -> bytes:
    """Return a damaged batch, a pickle that refers to its own parts, or a random program for the unpickler."""
    kind = rng.random()
    if kind < 0.5:
        return mutated(BATCH, rng)
    if kind < 0.6:
        return laughing(rng)
    program = [b"\x80\x02", rng.choice((b"}(", b"}U\x01a", b"", b"]q\x00"))]
    for _ in range(rng.choice((3, 10, 40))):
        code = rng.choice(OPCODES).decode("latin-1") if rng.random() < 0.3 else rng.choice("(]ehq\x86Uua")
        program.append(code.encode("latin-1") + ARGUMENTS.get(code, lambda rng: b"")(rng))
    return b"".join(program) + rng.choice((b"u.", b"s.", b"."))


def test_pickles() -> None:
    for case in cases(1500):
        content = pickled(random.Random(case))
        read = functools.cache(functools.partial(read_pickle, content, name="batch"))
        if accepted(read, case):
            assert all(isinstance(value, (str, int, list, np.ndarray)) for value in read().values()), case


def test_idx_files() -> None:
    whole = idx(random_images(3, 4, 5))
    for case in cases(1000):
        rng = random.Random(case)
        content = mutated(whole, rng)
        if rng.random() < 0.3:
            content = bytes([0, 0, 8, 3]) + struct.pack(">3I", *rng.choices((0, 1, 3, 2**32 - 1), k=3))
        accepted(functools.partial(parse_idx, content, axes=3, name="images"), case)
        packed = mutated(gzip.compress(whole, mtime=0), rng)
        accepted(functools.partial(gunzip, packed, len(whole), name="images.gz"), case)


FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "gif": "GIF", "webp": "WEBP", "ppm": "PPM", "tif": "TIFF"}
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F")


def picture(rng: random.Random, ending: str) -> bytes:
    pixels = Image.fromarray(np.frombuffer(rng.randbytes(12 * 12 * 3), np.uint8).reshape(12, 12, 3))
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = rng.randrange(12)
    try:
        pixels.convert(rng.choice(MODES)).save(content, FORMATS[ending], exif=exif)
    except (OSError, ValueError, KeyError):  # the format does not support the mode
        content = io.BytesIO()
        pixels.save(content, FORMATS[ending])
    return content.getvalue()


def test_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "cat"
    folder.mkdir()
    for case in cases(700):
        rng = random.Random(case)
        ending = rng.choice(sorted(FORMATS))
        path = folder / f"{case}.{ending if rng.random() < 0.9 else 'png'}"
        path.write_bytes(mutated(picture(rng, ending), rng))
        size = rng.choice((None, (4, 4)))
        accepted(functools.partial(ImageFolder().read, "train", root=tmp_path, size=size), case)
        path.unlink()


CONTENTS = {"set/one": b"the content" * 100, "set/two": b"", "set/three": bytes(2000)}
WANTED = tuple(data_file(path, content) for path, content in CONTENTS.items())
NAMES = (*CONTENTS, "set", "../evil", "/tmp/evil", "set/../../evil", "a\\b", "C:x", "é" * 150, "\udcff", "x" * 300, "")
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE)


def archive(rng: random.Random) -> bytes:
    """Return an archive of the wanted members and others, damaged before or after its compression."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))) as tar:
        members = list(CONTENTS.items())
        if rng.random() < 0.5:
            members.insert(rng.randrange(4), (rng.choice(NAMES), rng.randbytes(rng.choice((0, 10, 3000)))))
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if rng.random() < 0.1:
                info.type, info.linkname, info.size = rng.choice(KINDS), rng.choice(NAMES), 0
            if rng.random() < 0.1:
                key, value = rng.choice(("size", "path", "GNU.sparse.map", "x")), rng.choice(("9" * 30, "-1", "../e"))
                info.pax_headers = {key: value}
            tar.addfile(info, io.BytesIO(content))
    before = plain.getvalue()
    if rng.random() < 0.5:
        before = mutated(before, rng)
        if rng.random() < 0.5:  # a damaged header with a right checksum
            field = 512 * rng.randrange(len(before) // 512 or 1)
            block = bytearray(before[field : field + 512])
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
            before = before[:field] + bytes(block) + before[field + 512 :]
    packed = rng.choice((gzip.compress, lambda content: content))(before)
    return mutated(packed, rng) if rng.random() < 0.5 else packed


def test_archives(tmp_path: Path) -> None:
    path, root = tmp_path / "in" / "set.tar", tmp_path / "in" / "data"
    path.parent.mkdir()
    whole = 0
    for case in cases(700):
        path.write_bytes(archive(random.Random(case)))
        whole += accepted(functools.partial(extract_tar, path, root, WANTED), case)
        assert [entry.name for entry in tmp_path.iterdir()] == ["in"], case
        for file in (entry for entry in root.rglob("*") if not entry.is_dir()):
            assert not file.is_symlink(), case
            assert file.read_bytes() == CONTENTS[file.relative_to(root).as_posix()], f"{case}: half-written"
            file.unlink()
    assert whole, "some archives are still whole"
