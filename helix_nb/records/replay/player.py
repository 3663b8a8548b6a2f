"""Answer from what was recorded: the seam of endpoints, wrapped around the one that would be asked.

Nothing of this is imported into a request's way unless replay is on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
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
    from ...endpoints.base import Endpoint, ModelChoice, ModelInfo
    from ..storage.log import Log
    from .cassettes import Recording, Source

MODES = ("off", "reuse", "only")

_chosen: tuple[str, str | None] | None = None
_players: dict[tuple[str, str | None], Player] = {}


class Player:
    """What has been replayed so far: repeated identical requests get their answers in order."""

    def __init__(self, mode: str, source: Path | None) -> None:
        self.mode = mode
        self._path = source
        self._cassette: Source | None = None
        self._asked: Counter[str] = Counter()
        self._models: tuple[str | None, ...] | None = None
        self._lock = threading.Lock()

    def find(self, request: Request, connection: Connection, log: Log) -> Recording | None:
        """The recording that answers this request now, or None.

        "only" goes by the request alone. "reuse" from the log also wants the same endpoint, agent
        and key: nobody gets another agent's answer without having said so.
        """
        request_hash, identity = request.digest(), None
        if self.mode == "reuse" and self._path is None:
            identity = request.digest(connection.identity(log.salt, request.model))
        statuses = ("ok",) if self.mode == "reuse" else ("ok", "truncated", "error")
        found = self._source(log).find(request_hash, identity, statuses)
        others = self._others(request, connection, log) if not found and self.mode == "only" else ()
        for model in others:
            request_hash = replace(request, model=model).digest()
            found = self._source(log).find(request_hash, None, statuses)
            if found:
                break
        same = [one for one in found if one.reply.endpoint == connection.name]
        found, counted = (same, f"{connection.name} {request_hash}") if same else (found, request_hash)
        with self._lock:
            turn = self._asked[counted]
            self._asked[counted] += 1
        return found[turn % len(found)] if found else None

    def _others(self, request: Request, connection: Connection, log: Log) -> Sequence[str | None]:
        """The models for which this may have been asked where it was recorded."""
        if connection.kind == "demo":  # nothing is configured here, but something was: no model was named
            return (None,)
        if request.model is not None:
            return ()
        if self._models is None:  # a batch that named none asked for the one that was served then
            requests = (one.request for one in self._source(log).newest())
            self._models = tuple(dict.fromkeys(request["model"] for request in requests))
        return self._models

    def miss(self, request: Request, log: Log) -> ReplayMiss:
        """Say what was asked and what came nearest among what was recorded."""
        where = f"{self._path}" if self._path else "the log"
        asked = request.to_json()
        recorded = [one.request for one in self._source(log).newest()]
        if not recorded:
            return ReplayMiss(f"Replay is 'only', and {where} holds no recorded answer at all.")
        nearest = max(recorded, key=lambda one: likeness(one, asked))
        first, *others = differences(nearest, asked) or ["nothing that was stored of it"]
        more = f"; and in {len(others)} more: {', '.join(map(_named, others))}" if others else ""
        return ReplayMiss(
            f"Replay is 'only', and {where} holds no answer to this request. "
            f"The nearest recorded one differs in {first}{more}."
        )

    def _source(self, log: Log) -> Source:
        from .cassettes import Cassette, Logged

        if self._path is None:
            return Logged(log)
        with self._lock:
            if self._cassette is None:
                self._cassette = Cassette(self._path)
            return self._cassette


class Replayed:
    """An endpoint that answers from recordings, and asks the real one only in "reuse"."""

    def __init__(self, endpoint: Endpoint, player: Player, log: Log) -> None:
        self.connection = endpoint.connection
        self._endpoint = endpoint
        self._player = player
        self._log = log

    async def stream(self, request: Request) -> AsyncGenerator[Delta]:
        """Yield a recorded answer; without one, the real endpoint's, or raise ReplayMiss."""
        found = await asyncio.to_thread(self._player.find, request, self.connection, self._log)
        if found is not None:
            for delta in found.deltas():
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

    async def default_model(self) -> ModelChoice:
        """Choose as the real endpoint does."""
        return await self._endpoint.default_model()

    def wire(self, request: Request) -> dict[str, Any]:
        """Return the request as the real endpoint would send it."""
        return self._endpoint.wire(request)

    async def aclose(self) -> None:
        """Close the real endpoint's idle connections."""
        await self._endpoint.aclose()


def replaying(endpoint: Endpoint, log: Log) -> Endpoint:
    """The endpoint itself, or a replay wrapped around it, as `logbook.replay` or HELIX_NB_REPLAY says."""
    player = current_player()
    return endpoint if player is None else Replayed(endpoint, player, log)


def choose(mode: str | None, source: str | os.PathLike[str] | None = None) -> None:
    """Switch replay for this process; None goes back to HELIX_NB_REPLAY. Starts counting anew."""
    global _chosen
    chosen = None if mode is None else _known(mode)
    if source is not None and not isinstance(source, str | os.PathLike):
        raise ConfigError(f"A cassette is named by its path, not by {type(source).__name__}.")
    if source is not None and not Path(source).is_file():
        raise ConfigError(f"There is no cassette {source}: hx.logbook.export('x.jsonl') writes one.")
    _chosen = None if chosen is None else (chosen, None if source is None else os.fspath(source))
    _players.clear()
    set_replay_only(_chosen is not None and _chosen[0] == "only")


def current() -> tuple[str, str | None]:
    """The mode, and the cassette or None for the log."""
    if _chosen is not None:
        return _chosen
    mode, _, source = os.environ.get("HELIX_NB_REPLAY", "").strip().partition(":")
    return _known(mode or "off"), source or None


def current_player() -> Player | None:
    """The player of the current mode, or None when replay is off."""
    if _chosen is None and not os.environ.get("HELIX_NB_REPLAY"):
        return None
    mode, source = current()
    if mode == "off":
        return None
    if (mode, source) not in _players:
        _players[mode, source] = Player(mode, Path(source) if source else None)
    return _players[mode, source]


def _known(mode: str) -> str:
    if mode in MODES:
        return mode
    raise ConfigError(
        f"Replay is {', '.join(MODES)} (or, in HELIX_NB_REPLAY, only:x.jsonl), not {mode!r}."
        + did_you_mean(mode, MODES)
    )


def _named(difference: str) -> str:
    return difference.partition(":")[0]
