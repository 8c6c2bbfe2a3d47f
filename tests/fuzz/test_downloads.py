"""Servers with random answers: a download gives the file or one line of error, in little time and memory."""

from __future__ import annotations

import contextlib
import random
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.data.made import data_file
from tests.fuzz.mutations import EDGES, accepted, cases, mutated
from tinygrad_lab.data import download as module
from tinygrad_lab.data.download import download
from tinygrad_lab.data.files import Download

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 40
FILE = data_file("set/file.bin", CONTENT)
TIMEOUT = 0.1  # seconds without a byte
PLACES = (
    "http://[::1", "//", "", "file:///etc/passwd", "data:,x", "ftp://127.0.0.1:1/x", "http://127.0.0.1:99999/", "/loop",
    "http://\xff/", "http://127.0.0.1:1/", "?" * 70_000, "javascript:x", "http:///x", "http://127.0.0.1:port/",
)  # fmt: skip
HEADERS = (
    "Content-Length: {size}", "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: x",
    "Transfer-Encoding: chunked", "Content-Encoding: gzip", "Content-Range: bytes 50-9/x", "Content-Range: bytes 0-",
    "Location: {place}", "Connection: keep-alive", "X: " + "x" * 70_000, "no colon", ": ", "\x00: \x00", " folded",
)  # fmt: skip
STATUSES = (
    "200 OK", "206 Partial Content", "302 Found", "308 ", "100 Continue", "204 No", "404 ", "416 ", "503 ", "999 x",
    "-1",
)  # fmt: skip


def answer(rng: random.Random) -> tuple[bytes, bytes]:
    """Return a server's answer, and bytes, possibly none, that it then repeats until the client disconnects."""
    headers = rng.sample(HEADERS, rng.randint(0, 3)) + ["Content-Length: {size}"] * (rng.random() < 0.5)
    place, status = rng.choice(PLACES), rng.choice(STATUSES) if rng.random() < 0.6 else "200 OK"
    lines = [f"HTTP/1.1 {status}", *(line.format(size=len(CONTENT), place=place) for line in headers), "", ""]
    head = "\r\n".join(lines).encode("latin-1")
    if "Transfer-Encoding: chunked" in headers:
        size = rng.choice((b"2800", b"FFFFFFFFFFFFFFFFFFFF", b"-1", b"x", b"", b"0", str(rng.choice(EDGES)).encode()))
        head += size + b"\r\n"
    whole = head + CONTENT + rng.choice((b"", b"\r\n0\r\n\r\n"))
    endless = rng.choice((b"", b"", b"", b"x" * 4096, b"X: y\r\n" * 100, b"HTTP/1.1 100 Continue\r\n\r\n", b"0\r\n"))
    if endless.startswith(b"HTTP") and rng.random() < 0.5:
        whole = b""
    return mutated(whole, rng) if rng.random() < 0.6 else whole, endless


class Handler(socketserver.BaseRequestHandler):
    said: tuple[bytes, bytes]

    def handle(self) -> None:
        first, again = self.said
        with contextlib.suppress(OSError):
            self.request.settimeout(2)
            self.request.recv(65536)
            self.request.sendall(first)
            while again:
                self.request.sendall(again)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def serving() -> Iterator[tuple[type[Handler], str]]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Handler, f"http://127.0.0.1:{server.server_address[1]}/file.bin"
        finally:
            server.shutdown()
            thread.join()


def test_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "_TIMEOUT", TIMEOUT)
    whole = 0
    with serving() as (handler, address):
        for case in cases(80):
            handler.said = answer(random.Random(case))
            whole += accepted(lambda: download(Download((address,), FILE, (FILE,)), tmp_path, pause=0), case)
            for file in (tmp_path / "set").iterdir():
                assert file.name == "file.bin.part" or file.read_bytes() == CONTENT, case
                assert file.stat().st_size <= len(CONTENT), f"{case}: more than the file has"
                file.unlink()
            assert [entry.name for entry in tmp_path.iterdir()] == ["set"], case
    assert whole, "some servers sent the file"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "a chunk of -1 bytes": (CHUNKED + b"-1\r\n", b"x" * 4096),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a redirection": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"x" * 4096),
    "an error": (b"HTTP/1.1 404 Not Found\r\n\r\n", b"x" * 4096),
    "the content": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
}


@pytest.mark.parametrize("said", ENDLESS.values(), ids=ENDLESS)
def test_endless_answers_fail(said: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as (handler, address):
        handler.said = said
        assert not accepted(lambda: download(Download((address,), FILE, (FILE,)), tmp_path, pause=0))


def test_a_server_that_sends_single_bytes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Dripping(Handler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            for place in range(100):
                self.request.sendall(CONTENT[place : place + 1])
                time.sleep(0.001)

    file = data_file("file.bin", CONTENT[:100])
    with Server(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download(Download((f"http://127.0.0.1:{server.server_address[1]}/x",), file, (file,)), tmp_path, pause=0)
        server.shutdown()
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[:100]
