"""Files of pretrained networks: here, in the hub's cache, or on the hub. Imports no torch: what is missing is said at once."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmcli.errors import ConfigError, MissingPackageError
from mmcli.pretrained import shelf
from mmcli.pretrained.pickles import PICKLES

CONNECT_S = 1.5
"""How long the hub may take to answer at all."""
CARD = "README.md"
"""Where a repository tells its licence."""
FILES = ("*.safetensors", "*.json", "*.txt", "*.model", CARD, "LICENSE*")
"""What is fetched of a repository."""


def need(package: str, what: str, extra: str = "hub") -> Any:
    """Imports a package of an extra, without what it and its own imports (torchao) say to those who develop with them.

    Raises:
        MissingPackageError: it is not installed.
    """
    import importlib

    try:
        with _quiet():
            module = importlib.import_module(package)
            if package == "transformers":  # which imports most of itself, and torchao, once a model is asked for
                _ = module.PreTrainedModel
            return module
    except ImportError:
        raise MissingPackageError(
            f"{what} needs the package {package}, which is not installed",
            f"Where mmcli was installed from: pip install '.[{extra}]'",
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings, raised or logged."""
    before = logging.root.manager.disable
    logging.disable(max(logging.WARNING, before))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def local(name: str) -> Path | None:
    """The file or folder that a name stands for; None where it can only be a name on the hub.

    Raises:
        ConfigError: it can be no such name, and there is nothing of it.
    """
    if (own := shelf.place(name)) is not None:
        return own
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.suffix in {".safetensors", *PICKLES}:
        raise ConfigError(f"{name}: there is no such file or folder", f"Looked in {path.absolute().parent}.")
    return None


def fetch(name: str, patterns: tuple[str, ...] = FILES) -> Path:
    """The folder with a repository of the hub: from its cache where it lies there, else downloaded.

    Raises:
        ConfigError: there is no such repository, or the hub cannot be reached; says how to bring the files.
    """
    hub, constants = need("huggingface_hub", name), need("huggingface_hub.constants", name)
    need("huggingface_hub.errors", name)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
    except hub.errors.LocalEntryNotFoundError:
        pass
    except hub.errors.HFValidationError as error:
        raise ConfigError(f"{name} is neither a folder nor a name on the hub: {error}") from None
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _unreachable(endpoint)
    if not reason:
        try:
            return Path(hub.snapshot_download(name, allow_patterns=list(patterns), etag_timeout=CONNECT_S))
        except (hub.errors.HfHubHTTPError, OSError) as error:
            reason = str(error).splitlines()[0]
    raise ConfigError(
        f"{name} is not on this machine and cannot be downloaded from {endpoint}: {reason}",
        f"On a machine with a network: hf download {name} --local-dir DIR; copy DIR here and name it instead of {name}.",
    )


def cached(name: str) -> Path | None:
    """The folder of a repository in the hub's cache; None where it is not there."""
    try:
        import huggingface_hub
        import huggingface_hub.errors as errors
    except ImportError:
        return None
    try:
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError):
        return None


def _unreachable(endpoint: str) -> str:
    """Why nothing answers at an address, or at the proxy before it; empty where something does."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    parts = urlsplit(proxy or endpoint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S):
            return ""
    except OSError as error:
        return f"no answer from {parts.hostname} ({error.strerror or error})"


def expect_timm(model: str) -> None:
    """Looks whether published weights of a network of timm can be had, before timm is imported.

    Raises:
        ConfigError: they are not in the cache, and the hub does not answer.
    """
    constants = need("huggingface_hub.constants", f"timm:{model}")
    cache, base = Path(constants.HF_HUB_CACHE), model.partition(".")[0]
    if any(cache.glob(f"models--timm--{base}*")):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _unreachable(endpoint)
    if reason:
        raise ConfigError(
            f"the weights of timm:{model} are not on this machine and cannot be downloaded from {endpoint}: {reason}",
            "On a machine with a network: hf download timm/NAME --local-dir DIR, NAME being one of "
            f"https://huggingface.co/timm that begins with {base}.; copy DIR here and say --weights DIR.",
        )
