"""`python -m helix_nb doctor`: what is configured, reachable and installed. Never a key."""

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

# The packages that doctor names, each with the extra that installs it.
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
BUILT_IN = {"demo": "embedded: canned text, not a model", "local": "models on this machine (MLX)"}
MODELS_NAMED = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    line: str
    ok: bool = True  # False where something needs the user


def findings(*, offline: bool = False) -> Iterator[Finding]:
    """Look at this installation; unless `offline`, ask every endpoint but the local one for its models."""
    yield Finding(f"helix_nb {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield Finding(f"  {sys.executable}")
    yield Finding("\nEndpoints")
    current = None
    try:
        current = resolve(None).name
    except ConfigError as error:
        yield Finding(f"* {_sentence(error)}", ok=False)
    for connection in endpoints().values():
        yield from _endpoint_findings(connection, current=connection.name == current, offline=offline)
    yield Finding("\nLog")
    yield _log_finding()
    yield Finding("\nInstalled")
    for package, extra in PACKAGES.items():
        yield Finding(f"  {package:<13} {_version(package, extra)}")


def _endpoint_findings(connection: Connection, *, current: bool, offline: bool) -> Iterator[Finding]:
    key = f"key from {connection.key_source}" if connection.has_key else "no key"
    model = known_default_model(connection)
    about = ", ".join([connection.base_url, key, *([f"model {model}"] if model else [])])
    yield Finding(
        redact(f"{'*' if current else ' '} {connection.name}: {BUILT_IN.get(connection.kind, about)}")
    )
    if connection.kind == "local":
        from ..endpoints.local.support import unsupported_reason

        yield Finding(f"    {unsupported_reason() or 'MLX is installed and runs here'}")
    elif not offline:
        yield _models_finding(connection, current)


def _models_finding(connection: Connection, current: bool) -> Finding:
    """Ask an endpoint for its models, to see whether it answers."""
    from ..records.models import models

    try:
        names = [str(name) for name in models(connection)["id"]]
    except HelixError as error:
        # An agent key may not list models; a server that says so knows the key.
        ok = not current or "agent key" in str(error)
        return Finding(f"    {_sentence(error)}", ok=ok)
    listed = ", ".join(names[:MODELS_NAMED]) + (", ..." if len(names) > MODELS_NAMED else "")
    return Finding(f"    answers; {len(names)} models: {printable(redact(listed))}")


def _sentence(error: HelixError) -> str:
    return printable(redact(str(error)))


def _log_finding() -> Finding:
    from ..records.storage.location import log_location
    from ..records.storage.log_file import obstacle

    location = log_location()
    if not location.enabled:
        return Finding("  off: nothing is recorded (HELIX_NB_LOG=off)")
    path = location.path
    if path is None:
        return Finding("  in memory: it ends with its kernel (HELIX_NB_LOG=:memory:)")
    if reason := _unwritable_reason(path):
        return Finding(f"  {path}: {reason}; set HELIX_NB_LOG to a file that can be written", ok=False)
    size = "not there yet"
    if path.exists():
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        if not location.per_kernel and (sentence := obstacle(path)):
            return Finding(f"  {sentence}", ok=False)
    network = "; a network file system, so each kernel has a file of its own" if location.per_kernel else ""
    return Finding(f"  {path} ({size}){network}")


def _unwritable_reason(path: Path) -> str | None:
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


def _version(package: str, extra: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"not installed: pip install 'helix-nb[{extra}]'" if extra else "missing: reinstall helix-nb"
