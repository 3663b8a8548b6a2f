"""Fetch a model from the Hub, in the worker, or say in one sentence why it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..models import has_all_weights

Emit = Callable[..., None]


class ServingError(Exception):
    """A request or a model that cannot be served; the message is a sentence for the user."""

    def __init__(self, message: str, kind: str = "LocalModelError") -> None:
        super().__init__(message)
        self.kind = kind


def download(name: str, revision: str | None, say: Emit) -> Path:
    """Return the cached snapshot of a Hub id, downloading it when it is not there or not whole."""
    from huggingface_hub import errors, snapshot_download
    from mlx_lm.utils import DEFAULT_ALLOW_PATTERNS

    known = {"repo_id": name, "revision": revision, "allow_patterns": DEFAULT_ALLOW_PATTERNS}
    try:
        here = Path(snapshot_download(**known, local_files_only=True))
        if has_all_weights(here):  # a tool that wanted the tokenizer alone leaves a snapshot too
            return here
    except errors.LocalEntryNotFoundError:
        pass  # not cached, or not whole
    except errors.HFValidationError:
        raise ServingError(f"{name!r} is neither a folder here nor a Hub id (owner/name).") from None
    try:
        say("progress", what="download", done=0, total=None)
        return Path(snapshot_download(**known, tqdm_class=_bar(say)))
    except Exception as error:
        raise ServingError(_why_not_downloaded(error, name, revision)) from error


def _why_not_downloaded(error: Exception, name: str, revision: str | None) -> str:  # noqa: PLR0911 - a table
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return (
            f"{name} is gated: accept its terms at https://huggingface.co/{name}, run `hf auth login`, "
            "and try again; or use another model."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision!r} on the Hub."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"The Hub has no model {name}, or it is private (then run `hf auth login`)."
    if constants.HF_HUB_OFFLINE:
        what = f"{name} (revision {revision})" if revision else name
        return f"{what} is not on this machine and HF_HUB_OFFLINE is set: unset it, or name a model you have."
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        return f"{name} is not on this machine and the Hub cannot be reached: check the connection."
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name} could not be downloaded: {error.strerror}. Check the space left on the disk."
    return f"{name} could not be downloaded: {first_line(error)}."


def _bar(say: Emit) -> type:
    """A tqdm that draws nothing and tells the kernel how far the download is."""
    from tqdm.asyncio import tqdm_asyncio

    class Bar(tqdm_asyncio):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = False
            super().__init__(*args, **{**kwargs, "file": _Nowhere(), "mininterval": 0.2})

        def display(self, *_: Any, **__: Any) -> bool:
            if self._bytes:
                say("progress", what="download", done=int(self.n), total=self.total)
            return True

    return Bar


class _Nowhere:
    def write(self, *_: Any) -> None: ...

    def flush(self) -> None: ...


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, or its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
