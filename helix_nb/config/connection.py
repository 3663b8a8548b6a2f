"""An endpoint as configured: where it is, how to talk to it, and the only holder of its key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import ConfigError
from .secrets import Secret
from .settings import check_settings, split_headers


@dataclass(frozen=True)
class Connection:
    """An endpoint as configured. It shows no key; what is None has not been set."""

    name: str
    base_url: str  # "demo" and "local" for those two
    kind: str = "remote"  # or "local", "demo"
    profile: str = "openai"  # a name of config.profiles.PROFILES
    app_id: str | None = None  # a Helix app, which answers instead of a model
    connect_timeout_s: float = 10.0  # until the server is reached
    first_byte_timeout_s: float = 300.0  # from the request to the first byte of an answer
    idle_timeout_s: float = 120.0  # between two bytes
    retries: int = 3  # tries after the first, before any of an answer has arrived
    # Headers that may be shown; those that hold a key are among the secret ones.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | str = True  # or the path of a file with certificates
    key_hint: str | None = None  # where the key comes from, in words
    _key: Secret = field(default_factory=Secret, repr=False)
    _secret_headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    carrier: str | None = None  # "aiohttp" or "httpx", the library that sends; None: whichever suits
    rpm: float | None = None  # requests a minute
    tpm: float | None = None  # tokens a minute
    concurrency: float | None = None  # requests in flight
    revision: str | None = None  # of a local model's Hub id
    idle_unload_s: float | None = None  # until a local model without a request gives its memory back
    cache_bytes: float | None = None  # for prompts that a local model uses again
    memory_bytes: float | None = None  # that a local model may need without a warning

    def __hash__(self) -> int:  # of few fields, because each exchange looks up its endpoint and its gate
        return hash((self.name, self.base_url, self._key))

    def __repr__(self) -> str:
        shown = ((part.name, getattr(self, part.name)) for part in fields(self) if part.repr)
        settings = ", ".join(f"{name}={value!r}" for name, value in shown if value is not None)
        return f"Connection({settings})"

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore a pickle; those of 0.1.0 hold some settings in a mapping, and lack what came later."""
        self.__dict__.update({**state, **state.get("settings", {})})
        self.__dict__.pop("settings", None)

    @property
    def has_key(self) -> bool:
        """Whether requests carry a key."""
        return bool(self._key or self._secret_headers)

    @property
    def key_source(self) -> str | None:
        """Where the key comes from, in words; None when there is none."""
        header = next(iter(self._secret_headers), None)
        return self.key_hint or (f"the header {header}" if header else None)

    def authorization(self) -> dict[str, str]:
        """Return the headers that hold a key: none, `Authorization`, or those that `headers=` named."""
        secret_headers = {name: value.reveal() for name, value in self._secret_headers.items()}
        if not self._key:
            return secret_headers
        others = {name: value for name, value in secret_headers.items() if name.lower() != "authorization"}
        return {**others, "Authorization": f"Bearer {self._key.reveal()}"}

    def identity(self, salt: bytes, model: str | None = None) -> str:
        """Return the endpoint's part of a request's identity; the key enters only as a salted digest.

        Of a local `model` it holds the folder that its name means now, because the same relative path
        means another model elsewhere.
        """
        secrets = [f"{name}: {value.reveal()}" for name, value in sorted(self._secret_headers.items())]
        keys = "\n".join([self._key.reveal(), *secrets]) if self.has_key else ""
        digest = hashlib.blake2b(keys.encode(), key=salt[:64]).hexdigest() if keys else ""
        model_facts = [] if self.revision is None else [f"revision={self.revision}"]
        if self.kind == "local" and model is not None:
            model_facts += _folder_fact(model)
        return "\n".join([self.base_url, self.profile, self.app_id or "", digest, *model_facts])

    def with_settings(self, settings: Mapping[str, Any]) -> Connection:
        """Return this endpoint with other settings; ConfigError says which one is wrong, and how."""
        check_settings(settings, local=self.kind == "local")
        changes = dict(settings)
        if isinstance(changes.get("verify"), os.PathLike):
            changes["verify"] = os.fspath(changes["verify"])
        if "headers" in changes:
            changes["headers"], changes["_secret_headers"] = split_headers(changes["headers"])
            if self._key and "authorization" in map(str.lower, changes["_secret_headers"]):
                raise ConfigError("Give a key or an Authorization header, not both.")
        return replace(self, **changes)


def _folder_fact(model: str) -> list[str]:
    path = os.path.expanduser(model)  # noqa: PTH111 - any text may stand here, and this never raises
    return [f"folder={os.path.realpath(path)}"] if os.path.isdir(path) else []  # noqa: PTH112 - nor this
