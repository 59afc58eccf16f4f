"""A server that breaks off, dawdles, leads in circles or says nothing: what an address in a cell may name."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.0 200 OK\r\n"


def _drip(peer: socket.socket, data: bytes) -> None:
    for place in range(len(data)):
        peer.sendall(data[place : place + 1])
        time.sleep(1)


def _answer(peer: socket.socket, path: str, good: bytes) -> None:
    with peer, suppress(OSError):
        asked = peer.recv(65536)
        length = b"Content-Length: %d\r\n\r\n"
        whole = b"" if asked.startswith(b"HEAD") else good
        name = path or asked.split()[1].decode("latin-1").strip("/").partition("?")[0].partition(".")[0]
        if name == "breaks-off":
            peer.sendall(OK + length % len(good) + whole[: len(good) // 2])
        elif name == "a-byte-a-second":
            peer.sendall(OK + length % len(good))
            _drip(peer, good)
        elif name == "a-byte-of-its-head-a-second":
            _drip(peer, OK + length % len(good))
        elif name == "never":
            time.sleep(60)
        elif name == "circles":
            peer.sendall(b"HTTP/1.0 302 Found\r\nLocation: /circles\r\n\r\n")
        elif name == "spirals":
            peer.sendall(b"HTTP/1.0 302 Found\r\nLocation: /spirals?%d\r\n\r\n" % time.monotonic_ns())
        elif name == "to-a-file":
            peer.sendall(b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")
        elif name == "said-too-long":
            peer.sendall(OK + length % (10**15) + whole)
        elif name == "said-too-short":
            peer.sendall(OK + length % 10 + whole)
        elif name == "said-below-zero":
            peer.sendall(OK + b"Content-Length: -5\r\n\r\n" + whole)
        elif name == "said-in-words":
            peer.sendall(OK + b"Content-Length: many\r\n\r\n" + whole)
        elif name == "endless":
            peer.sendall(OK + b"\r\n")
            while not asked.startswith(b"HEAD"):
                peer.sendall(bytes(1 << 20))
        elif name == "endless-head":
            while True:
                peer.sendall(OK + b"X: y\r\n" * 10_000)
        elif name == "no-chunks":
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" + whole)
        elif name == "chunk-cut":
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n" + whole[:9])
        elif name == "no-http":
            peer.sendall(b"\xff\xfe this is no answer\r\n\r\n")
        elif name == "empty":
            peer.sendall(OK + length % 0)
        elif name == "hangs-up":
            pass
        elif name.isdecimal():
            peer.sendall(b"HTTP/1.0 %s No\r\n\r\n" % name.encode())
        else:
            peer.sendall(OK + length % len(good) + whole)


NAMES = (
    "breaks-off",
    "a-byte-a-second",
    "a-byte-of-its-head-a-second",
    "never",
    "circles",
    "spirals",
    "to-a-file",
    "said-too-long",
    "said-too-short",
    "said-below-zero",
    "said-in-words",
    "endless-head",
    "no-chunks",
    "chunk-cut",
    "no-http",
    "empty",
    "hangs-up",
    "204",
    "304",
    "401",
    "403",
    "404",
    "410",
    "429",
    "500",
    "503",
)
"""What it does by the name that is asked for; all else it answers well."""


@contextmanager
def serving(good: bytes) -> Iterator[str]:
    """The address of such a server, in a process of its own."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    process = os.fork()
    if not process:
        while True:
            peer, _ = listening.accept()
            threading.Thread(target=_answer, args=(peer, "", good), daemon=True).start()
    port = listening.getsockname()[1]
    listening.close()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
