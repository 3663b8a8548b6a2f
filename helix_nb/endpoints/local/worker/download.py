"""Fetch a model from the Hub, in the worker, or say in one sentence why it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..models import has_all_weights

Emit = Callable[..., None]  # takes the name of an event and its fields


class ServingError(Exception):
    """A model or a request that cannot be served; the message is a sentence for the user."""

    def __init__(self, message: str, kind: str = "LocalModelError") -> None:
        super().__init__(message)
        self.kind = kind  # the HelixError that it becomes: "LocalModelError" or "BadRequest"


def download(name: str, revision: str | None, emit: Emit) -> Path:
    """Return the cached snapshot of a Hub id, downloading it when it is not there or not whole.

    Raises:
        ServingError: the model cannot be had.
    """
    from huggingface_hub import errors, snapshot_download
    from mlx_lm.utils import DEFAULT_ALLOW_PATTERNS

    snapshot = {"repo_id": name, "revision": revision, "allow_patterns": DEFAULT_ALLOW_PATTERNS}
    try:
        path = Path(snapshot_download(**snapshot, local_files_only=True))
        if has_all_weights(path):  # a tool that wanted the tokenizer alone leaves a snapshot too
            return path
    except errors.LocalEntryNotFoundError:
        pass  # not cached, or not whole
    except errors.HFValidationError:
        raise ServingError(f"{name!r} is neither a folder here nor a Hub id (owner/name).") from None
    try:
        emit("progress", what="download", done=0, total=None)
        return Path(snapshot_download(**snapshot, tqdm_class=_silent_bar(emit)))
    except Exception as error:
        raise ServingError(_explain(error, name, revision)) from error


def _explain(error: Exception, name: str, revision: str | None) -> str:
    """Return what an exception of the Hub's client means; the first row that holds wins."""
    from huggingface_hub import constants, errors

    model = f"{name} (revision {revision})" if revision else name
    disk_error = error.strerror if isinstance(error, OSError) and error.errno is not None else None
    meanings = (
        (
            isinstance(error, errors.GatedRepoError),
            f"{name} is gated: accept its terms at https://huggingface.co/{name}, run `hf auth login`, "
            "and try again; or use another model.",
        ),
        (
            isinstance(error, errors.RevisionNotFoundError),
            f"{name} has no revision {revision!r} on the Hub.",
        ),
        (
            isinstance(error, errors.RepositoryNotFoundError),
            f"The Hub has no model {name}, or it is private (then run `hf auth login`).",
        ),
        (
            constants.HF_HUB_OFFLINE,
            f"{model} is not on this machine and HF_HUB_OFFLINE is set: unset it, or name a model you have.",
        ),
        (
            isinstance(error, errors.LocalEntryNotFoundError | ConnectionError),
            f"{name} is not on this machine and the Hub cannot be reached: check the connection.",
        ),
        (
            disk_error is not None,
            f"{name} could not be downloaded: {disk_error}. Check the space left on the disk.",
        ),
        (True, f"{name} could not be downloaded: {first_line(error)}."),
    )
    return next(sentence for holds, sentence in meanings if holds)


def _silent_bar(emit: Emit) -> type:
    """Return a class of tqdm that draws nothing and tells the kernel how far the download is."""
    from tqdm.asyncio import tqdm_asyncio

    class SilentBar(tqdm_asyncio):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = False
            super().__init__(*args, **{**kwargs, "file": _Nowhere(), "mininterval": 0.2})

        def display(self, *_: Any, **__: Any) -> bool:
            if self._counts_bytes:
                emit("progress", what="download", done=int(self.n), total=self.total)
            return True

    return SilentBar


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, *_: Any) -> None: ...

    def flush(self) -> None: ...


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
