"""Where the log lives: HELIX_NB_LOG, else the user's data folder; and whether SQLite can share it."""

from __future__ import annotations

import os
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
    """A log's place. `path` is None when it is kept in memory; `alone` = one file per kernel.

    A path that is not absolute is in no folder that there is: `~nobody`, or a working directory that is gone.
    """

    kept: bool = True
    path: Path | None = None
    alone: bool = False


def wanted(setting: str | None = None) -> LogLocation:
    """Read a setting as HELIX_NB_LOG spells it (None: that variable itself); never raises."""
    setting = (os.environ.get("HELIX_NB_LOG", "") if setting is None else setting).strip()
    if is_off(setting):
        return LogLocation(kept=False)
    if setting.lower() == ":memory:":
        return LogLocation()
    # os.path, because Path raises where a folder may not be looked into, or a name is too long
    path = Path(os.path.expanduser(setting)) if setting else _default()  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        path /= FILE_NAME
    try:
        path = path if str(path).startswith("~") else path.absolute()
    except OSError:
        return LogLocation(path=path)
    return LogLocation(path=path, alone=is_network(path.parent))


def is_off(setting: str) -> bool:
    """Whether a setting of the environment says no."""
    return setting.strip().lower() in ("off", "0", "false", "no")


def _default() -> Path:
    import platformdirs

    return platformdirs.user_data_path("helix_nb") / FILE_NAME


def is_network(folder: Path, mounts: Iterable[tuple[str, str]] | None = None) -> bool:
    """Whether a folder is on a network file system, by the (mount point, type) that holds it."""
    name = os.path.realpath(folder)
    holding = [
        (mount, kind)
        for mount, kind in (_mounts() if mounts is None else mounts)
        if name == mount or name.startswith(mount.rstrip("/") + "/")
    ]
    return bool(holding) and max(holding, key=lambda found: len(found[0]))[1].lower() in NETWORK_TYPES


def _mounts() -> list[tuple[str, str]]:
    import psutil

    try:
        return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    except (OSError, psutil.Error):
        return []
