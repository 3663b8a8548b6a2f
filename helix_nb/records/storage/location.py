"""Where the log lives: HELIX_NB_LOG, else the user's data folder; and the names of its files there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "log.db"
# SQLite's WAL needs shared memory, which no network file system gives.
NETWORK_TYPES = frozenset(
    [
        *("nfs", "nfs4", "cifs", "smb", "smbfs", "smb3", "afpfs", "afs", "webdav", "davfs", "9p"),
        *("lustre", "gpfs", "beegfs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"),
        *("fuse.ceph", "fuse.s3fs", "fuse.davfs2", "fuse.gcsfuse"),
    ]
)


@dataclass(frozen=True, slots=True)
class LogLocation:
    """Where a log is kept, if it is kept at all."""

    enabled: bool = True
    path: Path | None = None
    """The file; None keeps the log in memory. One that is not absolute lies in no folder that exists:
    `~nobody`, or a working directory that is gone."""
    per_kernel: bool = False
    """Whether each kernel writes a file of its own beside the path, because the file system shares none."""


def log_location(setting: str | None = None) -> LogLocation:
    """Return the location that a setting spelled like HELIX_NB_LOG names (None reads that variable).

    Never raises: what is wrong with a path is found out when it is opened.
    """
    setting = (os.environ.get("HELIX_NB_LOG", "") if setting is None else setting).strip()
    if is_off(setting):
        return LogLocation(enabled=False)
    if setting.lower() == ":memory:":
        return LogLocation()
    # os.path, because Path raises where a folder may not be looked into, or a name is too long
    path = Path(os.path.expanduser(setting)) if setting else _default()  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        path /= FILE_NAME
    try:
        path = path if str(path).startswith("~") else path.absolute()
    except OSError:  # the working directory is gone
        return LogLocation(path=path)
    return LogLocation(path=path, per_kernel=is_network(path.parent))


def is_off(setting: str) -> bool:
    """Return whether a setting of the environment says no."""
    return setting.strip().lower() in ("off", "0", "false", "no")


def _default() -> Path:
    import platformdirs

    return platformdirs.user_data_path("helix_nb") / FILE_NAME


def is_network(folder: Path, mounts: Iterable[tuple[str, str]] | None = None) -> bool:
    """Return whether a folder is on a network file system, by the (mount point, type) that holds it."""
    name = os.path.realpath(folder)
    holding = [
        (mount, kind)
        for mount, kind in (_mounts() if mounts is None else mounts)
        if name == mount or name.startswith(mount.rstrip("/") + "/")
    ]
    return bool(holding) and max(holding, key=lambda pair: len(pair[0]))[1].lower() in NETWORK_TYPES


def _mounts() -> list[tuple[str, str]]:
    import psutil

    try:
        return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    except (OSError, psutil.Error):
        return []


def per_kernel_path(path: Path, kernel_id: str) -> Path:
    """Return the path of a kernel's own file beside a shared log."""
    name = re.sub(r"[^\w.-]", "_", kernel_id)
    return path.with_name(f"{path.stem}-kernel-{name}-{os.getpid()}.db")


def is_per_kernel(path: Path) -> bool:
    """Return whether a file is one kernel's own, by its name."""
    return re.fullmatch(r".+-kernel-[\w.-]+\.db", path.name) is not None


def per_kernel_files(path: Path) -> list[Path]:
    """Return each kernel's own file beside a log; none where the folder cannot be read."""
    try:
        names = sorted(os.listdir(path.parent))  # noqa: PTH208 - raises what is caught here
    except OSError:
        return []
    own = [path.with_name(name) for name in names if name.startswith(f"{path.stem}-kernel-")]
    return [each for each in own if is_per_kernel(each)]
