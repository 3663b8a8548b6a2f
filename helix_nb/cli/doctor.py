"""What `python -m helix_nb doctor` finds: configured, reachable, installed. Never a key."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .._version import __version__
from ..config.connection import Connection
from ..config.registry import endpoints, resolve
from ..config.session import known_default_model
from ..errors import ConfigError, HelixError
from ..redaction import redact
from ..text import printable

# What is worth knowing the version of, and the extra that installs it.
PACKAGES = {
    "ipython": "",
    "ipywidgets": "",
    "anywidget": "",
    "aiohttp": "",
    "httpx": "",
    "pandas": "",
    "ipykernel": "lab",
    "jupyterlab": "lab",
    "matplotlib": "plot",
    "genai-prices": "cost",
    "pyarrow": "parquet",
    "mlx-lm": "local",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `ok` is False where something needs the user."""

    line: str
    ok: bool = True


def findings(*, offline: bool = False) -> Iterator[Finding]:
    """Look at this installation; unless `offline`, ask each endpoint but the local one for its models."""
    yield Finding(f"helix_nb {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield Finding(f"  {sys.executable}")
    yield Finding("\nEndpoints")
    current = None
    try:
        current = resolve(None).name
    except ConfigError as error:
        yield Finding(f"* {_sentence(error)}", ok=False)
    for connection in endpoints().values():
        yield from _endpoint(connection, current=connection.name == current, offline=offline)
    yield Finding("\nLog")
    yield _log()
    yield Finding("\nInstalled")
    for package, extra in PACKAGES.items():
        yield Finding(f"  {package:<13} {_installed(package, extra)}")


def _endpoint(connection: Connection, *, current: bool, offline: bool) -> Iterator[Finding]:
    key = f"key from {connection.key_source}" if connection.has_key else "no key"
    where = {"demo": "embedded: canned text, not a model", "local": "models on this machine (MLX)"}
    model = f", model {known_default_model(connection)}" if known_default_model(connection) else ""
    about = where.get(connection.kind, f"{connection.base_url}, {key}{model}")
    yield Finding(redact(f"{'*' if current else ' '} {connection.name}: {about}"))
    if connection.kind == "local":
        from ..endpoints.local.support import unsupported_reason

        yield Finding(f"    {unsupported_reason() or 'MLX is installed and runs here'}")
    elif not offline:
        yield _reached(connection, current)


def _reached(connection: Connection, current: bool) -> Finding:
    from ..records.models import models

    try:
        found = list(models(connection)["id"])
    except HelixError as error:
        # An agent key may not list models, and that it is told so shows that it is known.
        known = "agent key" in str(error)
        return Finding(f"    {_sentence(error)}", ok=known or not current)
    shown = ", ".join(map(str, found[:6])) + (", ..." if len(found) > 6 else "")
    return Finding(f"    answers; {len(found)} models: {printable(redact(shown))}")


def _sentence(error: HelixError) -> str:
    from ..text import printable

    return printable(redact(str(error)))


def _log() -> Finding:
    from ..records.storage.location import log_location
    from ..records.storage.log_file import obstacle

    place = log_location()
    if not place.enabled:
        return Finding("  off: nothing is recorded (HELIX_NB_LOG=off)")
    if place.path is None:
        return Finding("  in memory: it ends with its kernel (HELIX_NB_LOG=:memory:)")
    if reason := _unwritable(place.path):
        return Finding(f"  {place.path}: {reason}; set HELIX_NB_LOG to a file that can be written", ok=False)
    size = "not there yet"
    if place.path.exists():
        size = f"{place.path.stat().st_size / 1e6:.1f} MB"
        if not place.per_kernel and (sentence := obstacle(place.path)):
            return Finding(f"  {sentence}", ok=False)
    alone = "; a network file system, so each kernel has a file of its own" if place.per_kernel else ""
    return Finding(f"  {place.path} ({size}){alone}")


def _unwritable(path: Path) -> str | None:
    if not path.is_absolute():
        return "there is no such folder"
    try:
        existing = next(place for place in (path, *path.parents) if place.exists())
    except OSError as failure:  # a folder that may not be looked into, a name that is too long
        return failure.strerror or str(failure)
    if existing == path and not path.is_file():
        return "it is no file"
    if existing != path and not existing.is_dir():
        return f"{existing} is not a folder"
    return None if os.access(existing, os.W_OK) else f"{existing} cannot be written"


def _installed(package: str, extra: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"not installed: pip install 'helix-nb[{extra}]'" if extra else "missing: reinstall helix-nb"
