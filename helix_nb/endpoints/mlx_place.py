"""Where the workers' logs and the code that MLX compiles are kept: folders nobody else can write to."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_folder: tuple[int, Path] | None = None


def folder() -> Path:
    """Return this process's private folder for the workers' logs."""
    global _folder
    if _folder is None or _folder[0] != os.getpid():
        _folder = os.getpid(), Path(tempfile.mkdtemp(prefix="helix_nb-"))
    return _folder[1]


def environment() -> dict[str, str]:
    """The worker's environment: no key, and a private folder for the code that MLX compiles and loads."""
    environment = {name: value for name, value in os.environ.items() if name != "HELIX_API_KEY"}
    return environment | {"TMPDIR": str(_compiled()), "TOKENIZERS_PARALLELISM": "false"}


def _compiled() -> Path:
    from platformdirs import user_cache_path

    path = user_cache_path("helix_nb") / "mlx"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o022 and os.access(path, os.W_OK):
            return path
    except OSError:
        pass  # no home to write to
    return folder()


def tidy() -> None:
    """Remove this process's private folder."""
    if _folder is not None and _folder[0] == os.getpid():
        shutil.rmtree(_folder[1], ignore_errors=True)
