"""Several processes fetch one data set at once. Each succeeds, and the files are right as soon as one ends."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.data.made import data_file
from tests.data.server import Site, serving
from tests.fuzz.mutations import cases

PLAIN, MEMBER = (hashlib.blake2b(name.encode()).digest() * 20_000 for name in ("plain", "member"))


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("set/member.bin")
        info.size = len(MEMBER)
        tar.addfile(info, io.BytesIO(MEMBER))
    return packed.getvalue()


@contextlib.contextmanager
def fetchers(count: int, *arguments: str) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tests.data.fetcher", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        yield processes
    finally:
        for process in processes:
            process.communicate()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.mark.slow
def test_three_processes_fetch_one_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    root, packed = tmp_path / "data", archive()
    files = {"set/plain.bin": PLAIN, "set.tar.gz": packed, "set/member.bin": MEMBER}
    described = json.dumps([asdict(data_file(path, content)) for path, content in files.items()])
    site = Site({"/set/plain.bin": PLAIN, "/set.tar.gz": packed})
    with serving(site), fetchers(3, str(root), site.address) as processes:
        for process in processes:
            tell(process, described)
        for number in cases(3):
            shutil.rmtree(root, ignore_errors=True)
            site.requests.clear()
            site.cut.extend([1000] if number % 2 else [])
            for process in processes:
                tell(process, "go")
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "\n"
                for path in ("set/plain.bin", "set/member.bin"):
                    assert (root / path).read_bytes() == files[path], "the files are right when the first process ends"
            found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
            assert found == ["set/member.bin", "set/plain.bin"]
            assert len(site.requests) == 2 + number % 2, "each file was fetched once"
