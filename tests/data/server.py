"""A local web server that misbehaves on request."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Site:
    """The files and the misbehavior of a server.

    Parameters
    ----------
    files : dict
        From path to content.
    cut : list of int
        Numbers of bytes after which the answers to the first requests break off, one entry each.
    failures : list of int
        Status codes that the first requests get instead of an answer, one entry each.
    ranges : bool
        Whether the server obeys the Range header.
    shift : int
        Number of bytes by which the answer to a range begins too late, as from a broken server.
    chunked : bool
        Whether the answer is sent in chunks, without its length.
    redirects : dict
        From path to the address that requests for it are redirected to.
    requests : list of (path, range)
        The requests so far; the server fills this list.
    """

    files: dict[str, bytes]
    cut: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0
    chunked: bool = False
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        asked = self.headers.get("Range")
        site.requests.append((self.path, asked))
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path].encode("utf-8", "surrogateescape").decode("latin-1"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = site.files.get(self.path)
        status = site.failures.pop(0) if site.failures else 404 if content is None else 200
        if content is None or status != 200:
            self.send_error(status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and site.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        body = content[start + (site.shift if start else 0) :]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + site.shift}-{len(content) - 1}/{len(content)}")
        if not site.chunked:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: site.cut.pop(0)] if site.cut else body)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve a site on 127.0.0.1 while the block runs."""
    handler = type("SiteHandler", (Handler,), {"site": site})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
