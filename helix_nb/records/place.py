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
class Place:
    """A log's place. `path` is None when it is kept in memory; `alone` = one file per kernel."""

    kept: bool = True
    path: Path | None = None
    alone: bool = False


def wanted(setting: str | None = None) -> Place:
    """Read a setting as HELIX_NB_LOG spells it (None: that variable itself)."""
    setting = (os.environ.get("HELIX_NB_LOG", "") if setting is None else setting).strip()
    if setting.lower() in ("off", "0", "false", "no"):
        return Place(kept=False)
    if setting == ":memory:":
        return Place()
    path = Path(setting).expanduser() if setting else _default()
    if path.is_dir():
        path /= FILE_NAME
    return Place(path=path.absolute(), alone=is_network(path.parent))


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
