"""Where the workers' logs and the code that MLX compiles are kept: folders nobody else can write to."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

LOG_NAME = 100  # characters of a model's name in that of its log: the name of a file has a limit
_folder: tuple[int, Path] | None = None


def folder() -> Path:
    """Return this process's private folder for the workers' logs; made anew where a system tidied it away."""
    global _folder
    if _folder is None or _folder[0] != os.getpid() or not _folder[1].is_dir():
        _folder = os.getpid(), Path(tempfile.mkdtemp(prefix="helix_nb-"))
    return _folder[1]


def log_of(model: str) -> Path:
    """Return a new file for the log of a worker with this model."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-")[-LOG_NAME:]
    number, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir=folder())
    os.close(number)
    return Path(path)


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
