"""Files of other machines and of archives, by address: `https://` as it is, all else through fsspec.

What a server or a store answers is told as it was: a refused connection, a status, a time that ran out, a missing package.
No answer is waited for longer than `wait` says, however it dawdles: its head, and each way that it leads elsewhere, count too.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

MAX_BYTES = 1 << 30
"""The largest file that is fetched."""
LONGEST_S = 600.0
"""How long one file may take."""
SLOWEST = 4096
"""Bytes a second below which a server is given up, once the time to wait is over."""
_BOMB_BYTES, _BOMB_TIMES = 1 << 26, 100
"""Members of archives that are larger, and so many times larger than all of the archive, are not unpacked."""
_waiting = {"seconds": 10.0}
_PACKAGES = {"s3": "remote", "s3a": "remote", "http": "remote", "https": "remote"}
"""Scheme -> the extra of mmcli that reads it."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z][A-Za-z0-9+.\-]*)*://")
_NEAR = {"file", "zip", "tar", "memory", "local"}


def wait(seconds: float) -> None:
    """How long servers are waited for from now on, in this process (--fetch-timeout)."""
    _waiting["seconds"] = seconds


def timeout_s() -> float:
    """How long servers are waited for, in seconds."""
    return _waiting["seconds"]


def is_address(path: str) -> bool:
    """Whether it names a store (`s3://...`, `https://...`, `zip://...`) rather than a file of this machine."""
    return "://" in path and _SCHEME.match(path) is not None


def is_far(path: str) -> bool:
    """Whether another machine would have to be asked."""
    return is_address(path) and any(part.partition("://")[0].lower() not in _NEAR for part in path.split("::") if "://" in part)


def trouble(address: str) -> str | None:
    """Why nothing can be read there; None where something can."""
    try:
        with _opened(address):
            return None
    except FileNotFoundError as error:
        return str(error) if " answered " in str(error) else f"{address}: there is no such file"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def stamp(address: str) -> list[Any]:
    """Its size, and its tag or time of change.

    Raises:
        OSError, ValueError: there is no answer.
    """
    if _is_web(address):
        with _answer(address, "HEAD") as answer:
            return [answer.headers.get("Content-Length"), answer.headers.get("ETag") or answer.headers.get("Last-Modified")]
    with _told(address):
        system, inner = _system(address)
        info = system.info(inner)
    changed = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "created", "CRC") if info.get(key)), None)
    return [info.get("size"), str(changed)]


def fetch(address: str, most: int = MAX_BYTES) -> bytes:
    """All its bytes, or the first `most + 1` of them.

    Raises:
        FileNotFoundError: there is no such file.
        OSError, ValueError: it cannot be had; says what the address answered.
    """
    whole, begun = bytearray(), time.monotonic()
    with _opened(address) as file, _told(address):
        _check_size(address, file)
        while len(whole) <= most and (part := file.read1(1 << 20) if hasattr(file, "read1") else file.read(1 << 20)):
            whole += part
            passed = time.monotonic() - begun
            if passed > LONGEST_S or (_is_web(address) and passed > timeout_s() and len(whole) < SLOWEST * passed):
                raise OSError(f"{address} sent {len(whole):,} bytes in {passed:.0f} s and was not done")
        if len(whole) <= most and _is_web(address) and file.length:
            raise OSError(f"{address}: the answer broke off after {len(whole):,} of {len(whole) + file.length:,} bytes")
    return bytes(memoryview(whole)[: most + 1])


def _check_size(address: str, file: Any) -> None:
    """Raises ValueError where the member of an archive on this machine is a bomb, as its size tells."""
    archive = address.rpartition("::")[2]
    size = getattr(file, "size", 0)
    if "::" not in address or not isinstance(size, int) or size <= _BOMB_BYTES or not os.path.isfile(archive):  # noqa: PTH113
        return
    packed = os.path.getsize(archive)  # noqa: PTH202
    if size > _BOMB_TIMES * packed:
        raise ValueError(f"unpacked it has {size:,} bytes, the archive {packed:,}: that is a bomb")


@contextmanager
def _opened(address: str) -> Iterator[Any]:
    if _is_web(address):
        with _answer(address, "GET") as file:
            yield file
        return
    with _told(address):
        system, inner = _system(address)
        file = system.open(inner, "rb")
    with file:
        yield file


def _is_web(address: str) -> bool:
    return address.lower().startswith(("http://", "https://"))


@contextmanager
def _answer(address: str, method: str) -> Iterator[Any]:
    quoted = urllib.parse.quote(address, safe="%/:=&?~#+!$,;'@()*[]")
    request = urllib.request.Request(quoted, method=method, headers={"User-Agent": "mmcli"})
    with _told(address), _opener(time.monotonic() + timeout_s()).open(request, timeout=timeout_s()) as answer:
        answer.until = time.monotonic() + LONGEST_S  # its head is there; how fast the rest comes is for `fetch` to see
        yield answer


class _Answer(HTTPResponse):
    """An answer that is read no longer than until a moment."""

    until = float("inf")

    def __init__(self, sock: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp: Any = io.BufferedReader(_Until(self, sock, self.fp))


class _Until(io.RawIOBase):
    """The bytes of a socket, each call waiting no longer than the answer has time."""

    def __init__(self, answer: _Answer, sock: Any, file: Any) -> None:
        self._answer, self._socket, self._file = answer, sock, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._answer.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        with contextlib.suppress(OSError):  # a socket that is closed already holds what was read
            self._socket.settimeout(min(left, timeout_s()))
        read: int | None = self._file.raw.readinto(buffer)
        return read

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _opener(until: float) -> urllib.request.OpenerDirector:
    """What asks servers of the web, those that an answer leads to included, and nothing else; until a moment."""
    answer = type("_AnswerUntil", (_Answer,), {"until": until})
    plain: Any = type("_Plain", (HTTPConnection,), {"response_class": answer})
    safe: Any = type("_Safe", (HTTPSConnection,), {"response_class": answer})

    class _Http(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(plain, req)

    class _Https(urllib.request.HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            return self.do_open(safe, req)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Http(),
        _Https(),
    ):
        opener.add_handler(handler)
    return opener


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Turns what can go wrong into an error that names the address and says what it answered."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        said = " ".join(str(error.reason or error.msg).partition("\n")[0].split())
        if error.code in {404, 410}:
            raise FileNotFoundError(f"{address} answered {error.code} {said}: there is no such file") from None
        raise OSError(f"{address} answered {error.code} {said}") from None
    except TimeoutError:
        raise OSError(f"{address} did not answer in {timeout_s():g} s") from None
    except urllib.error.URLError as error:
        raise OSError(f"{address}: {_plain(error.reason)}") from None
    except HTTPException as error:
        raise OSError(f"{address}: the answer broke off ({type(error).__name__})") from None
    except ConnectionError as error:
        raise OSError(f"{address}: {_plain(error)}") from None
    except (OSError, ValueError):
        raise
    except Exception as error:  # stores and archives raise whatever their libraries do
        raise OSError(f"{address}: {' '.join(str(error).split()) or type(error).__name__}") from None


def _plain(why: object) -> str:
    """What broke a connection, in words."""
    if isinstance(why, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(why, TimeoutError):
        return f"no answer in {timeout_s():g} s"
    if isinstance(why, ConnectionError):
        return "the connection broke off"
    return " ".join(str(getattr(why, "strerror", None) or why).split()).lower()


def _system(address: str) -> tuple[Any, str]:
    import fsspec  # only tables with such addresses need it

    try:
        system, inner = fsspec.core.url_to_fs(address)
    except ImportError as error:
        scheme = next(part for part in address.replace("::", "://").split("://"))
        schemes = {part.partition("://")[0].lower() for part in address.split("::")} | {scheme.lower()}
        extra = next((_PACKAGES[own] for own in schemes if own in _PACKAGES), "")
        how = f"pip install 'mmcli[{extra}]'" if extra else "pip install the package that it names"
        raise OSError(f"{address}: a package is missing ({error}); {how}") from None
    except NotImplementedError as error:
        raise OSError(f"{address}: {error}") from None
    return system, inner
