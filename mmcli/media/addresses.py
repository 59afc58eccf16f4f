"""Files of other machines and of archives, by address: `https://` as it is, all else through fsspec.

What a server or a store answers is told as it was: a refused connection, a status, a time that ran out, a missing package.
"""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

MAX_BYTES = 1 << 30
"""The largest file that is fetched."""
TIMEOUT_S = 20.0
"""How long an answer is waited for."""
LONGEST_S = 600.0
"""How long one file may take."""
_PACKAGES = {"s3": "remote", "s3a": "remote", "http": "remote", "https": "remote"}
"""Scheme -> the extra of mmcli that reads it."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z][A-Za-z0-9+.\-]*)*://")
_NEAR = {"file", "zip", "tar", "memory", "local"}


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
    parts, size, until = list[bytes](), 0, time.monotonic() + LONGEST_S
    with _opened(address) as file, _told(address):
        while size <= most and (part := file.read1(1 << 20) if hasattr(file, "read1") else file.read(1 << 20)):
            parts.append(part)
            size += len(part)
            if time.monotonic() > until:
                raise OSError(f"{address} sent {size:,} bytes in {LONGEST_S:g} s and was not done")
        if size <= most and _is_web(address) and file.length:
            raise OSError(f"{address}: the answer broke off after {size:,} of {size + file.length:,} bytes")
    return b"".join(parts)[: most + 1]


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
    with _told(address), urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        yield answer


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Turns what can go wrong into an error that names the address and says what it answered."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in {404, 410}:
            raise FileNotFoundError(f"{address} answered {error.code} {error.reason}: there is no such file") from None
        raise OSError(f"{address} answered {error.code} {error.reason}") from None
    except TimeoutError:
        raise OSError(f"{address} did not answer in {TIMEOUT_S:g} s") from None
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
        return f"no answer in {TIMEOUT_S:g} s"
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
