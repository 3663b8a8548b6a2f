"""The check whether local models can run here, made without importing anything heavy."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

REMOTE = (
    "A model on another machine works all the same: hx.connect(url) to any OpenAI-compatible server "
    "(Ollama, LM Studio, vLLM, mlx_lm.server), or Helix with HELIX_API_KEY."
)
INSTALL = "pip install 'helix-nb[local]'"
MACOS_FLOOR, GLIBC_FLOOR = (14, 0), (2, 35)


def unsupported_reason() -> str | None:
    """Return what keeps local models from running here, and the way out, as a sentence; else None."""
    return unsupported_reason_on(
        sys.platform,
        platform.machine(),
        macos=platform.mac_ver()[0],
        libc=platform.libc_ver(),
        installed=find_spec("mlx") is not None and find_spec("mlx_lm") is not None,
    )


def unsupported_reason_on(
    system: str, machine: str, *, macos: str = "", libc: tuple[str, str] = ("", ""), installed: bool = True
) -> str | None:
    """Return the same for a described machine.

    >>> unsupported_reason_on("darwin", "arm64", macos="15.1") is None
    True
    >>> unsupported_reason_on("win32", "AMD64").split(".")[0]
    'Local models run on macOS and Linux, and mlx-lm does not run on Windows'
    """
    if (cause := _cause(system, machine, macos, libc)) is not None:
        return f"{cause}. {REMOTE}"
    if not installed:
        return f"Local models need the local extra, which is not installed: {INSTALL}. {REMOTE}"
    return None


def _cause(system: str, machine: str, macos: str, libc: tuple[str, str]) -> str | None:
    if system == "darwin":
        if machine != "arm64":
            return (
                "Local models need a Mac with Apple Silicon, and this one has an Intel processor "
                "(or Python runs under Rosetta); MLX has no build for it"
            )
        if macos and _version(macos) < MACOS_FLOOR:
            return f"Local models need macOS {MACOS_FLOOR[0]} or later, and this is macOS {macos}"
        return None
    if system != "linux":
        name = {"win32": "Windows"}.get(system, system)
        return f"Local models run on macOS and Linux, and mlx-lm does not run on {name}"
    library, version = libc
    if library == "glibc" and _version(version) >= GLIBC_FLOOR:
        return None
    has = f"glibc {version}" if library == "glibc" else "another C library"
    return f"Local models need glibc {GLIBC_FLOOR[0]}.{GLIBC_FLOOR[1]} or later, and this Linux has {has}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
