"""`hx.logbook`: replay, export, delete and price what the log holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..errors import ConfigError
from .pricing import PriceTable, prices, reprice
from .reading.filters import LogKeywords, ScopeKeywords, filter_from, since_us
from .replay import player
from .storage.content import content_policy, set_content_policy
from .storage.deletion import delete, parse_size, shrink, size_bytes
from .storage.location import log_location
from .storage.log import current_log
from .storage.rows import utc_datetime

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

    from ..replies import Reply
    from .reading.threads import HasThread


@dataclass(frozen=True, slots=True)
class Info:
    """Where the log is, and what it holds."""

    path: Path | None  # None: in memory, or off
    size_bytes: int
    exchanges: int
    since: datetime | None  # when the first of them began
    replay: str  # the mode
    text: bool  # whether prompts and answers are stored
    problem: str | None  # why the log is in memory although a file was named


class Logbook:
    """The log as a whole: its place and prices, what is stored, replayed, exported and deleted."""

    @property
    def path(self) -> Path | None:
        """The file, or None when the log is in memory or off."""
        return current_log().path

    @property
    def prices(self) -> PriceTable:
        """The prices you set per million tokens, by patterns of base URL and model.

        >>> import helix_nb as hx
        >>> hx.logbook.prices["*tryhelix.ai*", "qwen3:*"] = {"input": 0.2, "output": 0.6, "cached": 0.05}
        >>> del hx.logbook.prices["*tryhelix.ai*", "qwen3:*"]
        """
        return prices

    @property
    def text(self) -> bool:
        """Whether prompts and answers are stored; set it to False to keep only numbers and hashes.

        HELIX_NB_LOG_TEXT=off does the same from the start. What was not stored cannot be replayed,
        and a batch cannot resume from it.
        """
        return content_policy().text

    @text.setter
    def text(self, stored: bool) -> None:
        set_content_policy(replace(content_policy(), text=bool(stored)))

    @property
    def redact(self) -> Callable[[str], str] | None:
        """A function every prompt, answer and error goes through before it is stored, or None.

        What it raises on is not stored. Keys are replaced by `[key]` with or without it. It does
        not change what is sent or shown.

        >>> import helix_nb as hx, re
        >>> hx.logbook.redact = lambda text: re.sub(r"[\\w.]+@[\\w.]+", "[mail]", text)
        >>> _ = hx.ask("Write to ada@example.org", endpoint="demo")
        >>> hx.log(last=1)["prompt"].iloc[0]
        'Write to [mail]'
        >>> hx.logbook.redact = None
        """
        return content_policy().redact

    @redact.setter
    def redact(self, function: Callable[[str], str] | None) -> None:
        if function is not None and not callable(function):
            raise ConfigError("logbook.redact takes a function from text to text, or None.")
        set_content_policy(replace(content_policy(), redact=function))

    def replay(self, mode: str | None = None, source: str | os.PathLike[str] | None = None) -> str:
        """Answer from what was recorded instead of asking; return the mode that holds from now on.

        Args:
            mode: "off"; "reuse" (a recorded answer where there is one, else ask); "only" (never
                ask: a request that was not recorded raises ReplayMiss with the nearest one);
                None changes nothing.
            source: a cassette written by `export("x.jsonl")`; None is the log.

        "only" goes by messages, model, parameters, schema and tools, and replays failures too.
        "reuse" from the log also wants the same endpoint, agent and key. Identical requests get
        their answers in the order in which they were recorded. A replayed exchange is a row with
        `usage_source` "replay", no tokens, cost 0 and a `replay_of` tag; its Reply shows the
        numbers that were recorded. HELIX_NB_REPLAY=only, reuse or only:x.jsonl does the same.

        >>> import helix_nb as hx
        >>> _ = hx.ask("What is the capital of France?", endpoint="demo")
        >>> hx.logbook.replay("only")
        'only'
        >>> hx.ask("What is the capital of France?", endpoint="demo").usage.source
        'replay'
        >>> hx.logbook.replay("off")
        'off'
        """
        if mode is not None or source is not None:
            player.set_mode("only" if mode is None else mode, source)
        current, cassette = player.current_mode()
        return f"{current}:{cassette}" if cassette else current

    def export(
        self, path: str | os.PathLike[str], scope: str = "kernel", **filters: Unpack[ScopeKeywords]
    ) -> Path:
        """Write the log to a `.jsonl`, `.parquet` or `.csv` file and return its path.

        Takes what `hx.log` takes: scope, since, model, status, search, tags. JSONL also holds the
        requests, so it is a cassette that `replay` can answer from; Parquet keeps the dtypes.

        Raises:
            ConfigError: another ending, or the file cannot be written.

        >>> import helix_nb as hx, pathlib, tempfile
        >>> _ = hx.ask("What is the capital of France?", endpoint="demo")
        >>> path = hx.logbook.export(pathlib.Path(tempfile.mkdtemp(), "capital.jsonl"))
        >>> path.read_text().count("capital of France") > 0
        True
        """
        from .export import export

        target = Path(path).expanduser()
        export(current_log(), target, filter_from(LogKeywords(scope=scope, **filters)))
        return target

    def forget(
        self,
        id: str | Reply | None = None,
        *,
        thread: str | HasThread | None = None,
        batch: str | None = None,
        since: str | date | timedelta | None = None,
    ) -> int:
        """Delete exchanges for good, whichever kernel wrote them, and return how many.

        Name an id (or a Reply), a thread (or a Chat), a batch, or everything since a time (as in
        `hx.log`); several together narrow it down. Their text is overwritten in the file, and
        system prompts and attachments nothing else uses go too; with a whole batch, what is known
        of its rows.

        Raises:
            ConfigError: nothing was named, or not by a text.

        >>> import helix_nb as hx
        >>> reply = hx.ask("What is the capital of France?", endpoint="demo")
        >>> hx.logbook.forget(reply.exchange_id)
        1
        """
        values = {
            "e.id = ?": _text("id", getattr(id, "exchange_id", id)),
            "e.thread_id = ?": _text("thread", getattr(thread, "thread_id", thread)),
            "e.batch_id = ?": _text("batch", batch),
            "e.started_at >= ?": None if since is None else since_us(since),
        }
        named = {condition: value for condition, value in values.items() if value is not None}
        if not named:
            raise ConfigError("Say what to forget: an id, thread=, batch= or since=.")
        whole_batch = batch if list(named) == ["e.batch_id = ?"] else None
        return delete(current_log(), (" AND ".join(named), list(named.values())), whole_batch)

    def prune(
        self, older_than: str | date | timedelta | None = None, max_size: int | str | None = None
    ) -> int:
        """Delete old exchanges and return how many: those before a time, or until the log is small enough.

        Args:
            older_than: "90d", "12h", a date, a datetime or a timedelta.
            max_size: bytes, or "500 MB"; the oldest go first.

        Raises:
            ConfigError: neither was given, or it makes no sense.
        """
        if older_than is None and max_size is None:
            raise ConfigError('Say what to prune: older_than="90d" or max_size="500 MB".')
        deleted = 0
        if older_than is not None:
            deleted += delete(current_log(), ("e.started_at < ?", [since_us(older_than)]))
        if max_size is not None:
            deleted += shrink(current_log(), parse_size(max_size))
        return deleted

    def paused(self) -> AbstractContextManager[None]:
        """Write no rows for exchanges that begin inside a `with` block.

        >>> import helix_nb as hx
        >>> with hx.logbook.paused():
        ...     reply = hx.ask("What is the capital of France?", endpoint="demo")
        >>> (hx.log()["id"] == reply.exchange_id).any().item()
        False
        """
        return current_log().paused()

    def info(self) -> Info:
        """Tell where the log is, how large, and what it holds.

        >>> import helix_nb as hx
        >>> hx.logbook.info().replay
        'off'
        """

        def measure(connection: sqlite3.Connection) -> tuple[int, int, int | None]:
            count, first = connection.execute("SELECT count(*), min(started_at) FROM exchanges").fetchone()
            return size_bytes(connection), count, first

        log = current_log()
        files = log.read(measure)
        return Info(
            path=log.path,
            size_bytes=sum(size for size, _, _ in files),
            exchanges=sum(count for _, count, _ in files),
            since=utc_datetime(min((first for _, _, first in files if first is not None), default=None)),
            replay=self.replay(),
            text=self.text,
            problem=log.problem,
        )

    def reprice(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame of the log with `cost`, `currency` and `cost_source` by today's prices.

        Replayed rows stay as they are, as does what a server charged where no price is known, and
        rows that nobody can price become NA. The log is not changed.

        Raises:
            ConfigError: the frame lacks columns of the log.

        >>> import helix_nb as hx
        >>> _ = hx.ask("What is the capital of France?", endpoint="demo")
        >>> hx.logbook.prices["demo", "*"] = {"input": 1.0, "output": 2.0, "currency": "EUR"}
        >>> hx.logbook.reprice(hx.log(last=1))["currency"].iloc[0]
        'EUR'
        >>> del hx.logbook.prices["demo", "*"]
        """
        return reprice(frame)

    def __repr__(self) -> str:
        if not log_location().enabled:
            return "The log is off (HELIX_NB_LOG=off)."
        info = self.info()
        place, size_mb = info.path or "memory", info.size_bytes / 1e6
        return f"{info.exchanges:,} exchanges in {place}, {size_mb:.1f} MB; replay {info.replay}"


def _text(keyword: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{keyword}= takes a text of the log, not {type(value).__name__}.")
    return value


logbook = Logbook()
