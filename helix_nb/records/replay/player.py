"""Answer from what was recorded: an Endpoint wrapped around the one that would be asked.

Nothing of this is imported into a request's way unless replay is on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config.session import set_replay_only
from ...errors import ConfigError, ReplayMiss
from ...messages import Request
from ...replies import Delta
from ...text import did_you_mean
from .differences import differences, likeness

if TYPE_CHECKING:
    from ...config.connection import Connection
    from ...endpoints.base import DefaultModel, Endpoint, ModelInfo
    from ..storage.log import Log
    from .cassettes import Recording, Recordings

MODES = ("off", "reuse", "only")

_chosen: tuple[str, str | None] | None = None  # mode and cassette; None leaves both to HELIX_NB_REPLAY
_players: dict[tuple[str, str | None], Player] = {}


class Player:
    """What has been replayed so far: repeated identical requests get their answers in order."""

    def __init__(self, mode: str, cassette_path: Path | None) -> None:
        self.mode = mode
        self._path = cassette_path  # None replays the log
        self._cassette: Recordings | None = None
        self._replayed: Counter[str] = Counter()
        self._models: tuple[str | None, ...] | None = None
        self._lock = threading.Lock()

    def find(self, request: Request, connection: Connection, log: Log) -> Recording | None:
        """Return the recording that answers this request now, or None.

        "only" goes by the request alone. "reuse" from the log also wants the same endpoint, agent
        and key: nobody gets another agent's answer without having said so.
        """
        statuses = ("ok",) if self.mode == "reuse" else ("ok", "truncated", "error")
        for request_hash, identity in self._digests(request, connection, log):
            recordings = self._recordings(log).find(request_hash, identity, statuses)
            if recordings:
                return self._next(recordings, request_hash, connection.name)
        return None

    def _digests(
        self, request: Request, connection: Connection, log: Log
    ) -> Iterator[tuple[str, str | None]]:
        """Yield the hash of a request, and its identity where that must match too; the likeliest first."""
        identity = None
        if self.mode == "reuse" and self._path is None:
            identity = request.digest(connection.identity(log.salt, request.model))
        yield request.digest(), identity
        if self.mode == "only":
            for model in self._other_models(request, connection, log):
                yield replace(request, model=model).digest(), None

    def _next(self, recordings: list[Recording], request_hash: str, endpoint: str) -> Recording:
        """Return the recording whose turn it is; those of the same endpoint come before others."""
        same = [each for each in recordings if each.reply.endpoint == endpoint]
        key = f"{endpoint} {request_hash}" if same else request_hash
        with self._lock:
            turn = self._replayed[key]
            self._replayed[key] += 1
        candidates = same or recordings
        return candidates[turn % len(candidates)]

    def _other_models(self, request: Request, connection: Connection, log: Log) -> Sequence[str | None]:
        """Return the other models under which this request may have been recorded."""
        if connection.kind == "demo":  # nothing is configured here, but something was: no model was named
            return (None,)
        if request.model is not None:
            return ()
        if self._models is None:  # a batch that named none asked for the one that was served then
            requests = (recording.request for recording in self._recordings(log).newest())
            self._models = tuple(dict.fromkeys(request["model"] for request in requests))
        return self._models

    def miss(self, request: Request, log: Log) -> ReplayMiss:
        """Return the error for a request without a recording; it compares the nearest recorded request."""
        where = f"{self._path}" if self._path else "the log"
        asked = request.to_json()
        recorded = [recording.request for recording in self._recordings(log).newest()]
        if not recorded:
            return ReplayMiss(f"Replay is 'only', and {where} holds no recorded answer at all.")
        nearest = max(recorded, key=lambda each: likeness(each, asked))
        first, *others = differences(nearest, asked) or ["nothing that was stored of it"]
        subjects = ", ".join(difference.partition(":")[0] for difference in others)
        more = f"; and in {len(others)} more: {subjects}" if others else ""
        return ReplayMiss(
            f"Replay is 'only', and {where} holds no answer to this request. "
            f"The nearest recorded one differs in {first}{more}."
        )

    def _recordings(self, log: Log) -> Recordings:
        from .cassettes import Cassette, LogRecordings

        if self._path is None:
            return LogRecordings(log)
        with self._lock:
            if self._cassette is None:
                self._cassette = Cassette(self._path)
            return self._cassette


class ReplayEndpoint:
    """An endpoint that answers from recordings, and asks the real one only in "reuse"."""

    def __init__(self, endpoint: Endpoint, player: Player, log: Log) -> None:
        self.connection = endpoint.connection
        self._endpoint = endpoint
        self._player = player
        self._log = log

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Yield a recorded answer; without one, the real endpoint's, or raise ReplayMiss."""
        recording = await asyncio.to_thread(self._player.find, request, self.connection, self._log)
        if recording is not None:
            for delta in recording.deltas():
                yield delta
            return
        if self._player.mode == "only":
            raise await asyncio.to_thread(self._player.miss, request, self._log)
        async with aclosing(self._endpoint.stream(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def models(self) -> list[ModelInfo]:
        """List the real endpoint's models."""
        return await self._endpoint.models()

    async def default_model(self) -> DefaultModel:
        """Choose as the real endpoint does."""
        return await self._endpoint.default_model()

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the request as the real endpoint would send it."""
        return self._endpoint.wire(request)

    async def aclose(self) -> None:
        """Close the real endpoint's idle connections."""
        await self._endpoint.aclose()


def with_replay(endpoint: Endpoint, log: Log) -> Endpoint:
    """Return an endpoint as it is, or wrapped in a replay, as `logbook.replay` or HELIX_NB_REPLAY says."""
    player = current_player()
    return endpoint if player is None else ReplayEndpoint(endpoint, player, log)


def set_mode(mode: str | None, cassette: str | os.PathLike[str] | None = None) -> None:
    """Switch replay for this process; None goes back to HELIX_NB_REPLAY. Starts counting anew.

    Raises:
        ConfigError: there is no such mode, or no such cassette.
    """
    global _chosen
    if mode is not None:
        _check_mode(mode)
    if cassette is not None and not isinstance(cassette, str | os.PathLike):
        raise ConfigError(f"A cassette is named by its path, not by {type(cassette).__name__}.")
    if cassette is not None and not Path(cassette).is_file():
        raise ConfigError(f"There is no cassette {cassette}: hx.logbook.export('x.jsonl') writes one.")
    _chosen = None if mode is None else (mode, None if cassette is None else os.fspath(cassette))
    _players.clear()
    set_replay_only(mode == "only")


def current_mode() -> tuple[str, str | None]:
    """Return the mode, and the path of the cassette or None for the log."""
    if _chosen is not None:
        return _chosen
    mode, _, cassette = os.environ.get("HELIX_NB_REPLAY", "").strip().partition(":")
    _check_mode(mode or "off")
    return mode or "off", cassette or None


def current_player() -> Player | None:
    """Return the player of the current mode, or None when replay is off."""
    if _chosen is None and not os.environ.get("HELIX_NB_REPLAY"):
        return None
    mode, cassette = current_mode()
    if mode == "off":
        return None
    if (mode, cassette) not in _players:
        _players[mode, cassette] = Player(mode, Path(cassette) if cassette else None)
    return _players[mode, cassette]


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ConfigError(
            f"Replay is {', '.join(MODES)} (or, in HELIX_NB_REPLAY, only:x.jsonl), not {mode!r}."
            + did_you_mean(mode, MODES)
        )
