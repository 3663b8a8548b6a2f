"""A batch from start to end: check, plan, reuse, send, and give the frame its columns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

from ..config.connection import Connection
from ..config.registry import resolve
from ..config.session import first_answer_note, known_default_model, replay_only
from ..endpoints.base import DefaultModel
from ..endpoints.registry import endpoint_for
from ..errors import ConfigError, RowsFailed
from ..origin import current_origin
from ..records.storage.log import current_log
from ..runtime.loop import run_here, run_sync
from .batch_log import BatchLog
from .limits import Limits
from .progress import Progress, summarize
from .results import column_names, result_columns
from .rows.plan import make_plan
from .rows.requests import BatchSpec
from .runner import Runner

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "truncated", "error", "skipped")


@dataclass(frozen=True)
class Batch:
    """The settings of a batch, and a function from frame to frame: `batch(frame)` takes a chunk, too.

    It pickles as long as its callables and its schema do, so that an engine can carry it.

    Raises:
        ConfigError: a setting is wrong.
    """

    spec: BatchSpec  # what is asked of every row
    into: str = "answer"  # prefix of the columns
    endpoint: str | Connection | None = None
    name: str | None = None
    limits: Limits = field(default_factory=Limits)
    dedupe: bool = True
    fresh: bool = False
    reuse_cut: bool = False
    errors: Literal["keep", "raise"] = "keep"
    progress: bool = True
    offset: int | None = None  # where a chunk begins in its batch; None is a whole batch

    def __post_init__(self) -> None:
        if self.errors not in ("keep", "raise"):
            raise ConfigError(f'errors= is "keep" or "raise", not {self.errors!r}.')
        if not isinstance(self.into, str) or not self.into:
            raise ConfigError("into= is the name of the new column.")
        if self.name is not None:
            check_name(self.name)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Read a pickle; one of 0.1.0 calls `spec` its `recipe`."""
        self.__dict__.update({"spec" if name == "recipe" else name: value for name, value in state.items()})

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Ask about every row and return the frame with its answers; Ctrl-C keeps what is done."""
        run = self.prepare(frame)
        with _tell_if_stopped(run):
            run_sync(run.reuse())
            _begin_progress(run)
            run_sync(run.send())
        return self.finish(run)

    async def aask(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Await what a call returns: for an event loop of the caller's own."""
        run = await asyncio.to_thread(self.prepare, frame)
        with _tell_if_stopped(run):
            await run_here(run.reuse())
            _begin_progress(run)
            await run_here(run.send())
        return self.finish(run)

    def prepare(self, frame: pd.DataFrame, *, read_only: bool = False) -> Runner:
        """Check everything and plan the requests; nothing is sent.

        Args:
            frame: the rows to ask about.
            read_only: True has the log keep nothing about them.

        Raises:
            ConfigError: a setting, a template or a column's name is wrong.
        """
        connection = resolve(self.endpoint)
        self._refuse_taken_columns(frame)
        progress = Progress.for_front_end(show=self.progress)
        model = self._choose_model(connection, progress)
        log = current_log()
        identify = cache(partial(connection.identity, log.salt))
        requests = self.spec.bind(frame, connection, model)
        batch_id = self.name or f"batch-{self.spec.digest(identify(None))}"
        origin = replace(current_origin(), source="batch", batch_id=batch_id)
        plan = make_plan(
            requests.with_origin(origin), identify, dedupe=self.dedupe, is_chunk=self.offset is not None
        )
        batch_log = BatchLog(log, batch_id, plan, self.fresh, self.reuse_cut, self.offset or 0, read_only)
        if note := first_answer_note(connection, named=self.endpoint is not None):
            progress.tell(note)
        return Runner(plan, connection, batch_log, self.limits, progress)

    def _refuse_taken_columns(self, frame: pd.DataFrame) -> None:
        """Refuse to write over a column that did not come from a batch; a Series has none to lose."""
        if self.spec.single:
            return
        from_batches = batch_columns(frame)
        for name in column_names(self.into, self.spec.schema):
            if name in frame.columns and name not in from_batches:
                of_batch = name in column_names(self.into, None)
                instead = "choose another into=" if of_batch else "rename that field of the schema"
                raise ConfigError(f"The frame already has a column {name!r}: {instead}, or drop it.")

    def _choose_model(self, connection: Connection, progress: Progress) -> str | None:
        """Choose the model of a batch that names none, so that its requests are the same when it goes on."""
        if self.spec.model is not None:
            return self.spec.model
        model = known_default_model(connection)
        if model or replay_only():
            return model
        choice = run_sync(_ask_for_default(connection))
        if choice.note:
            progress.tell(choice.note)
        return choice.model

    def finish(self, run: Runner) -> pd.DataFrame:
        """Return the frame with its new columns, and a summary in `attrs["batch"]`.

        Raises:
            RowsFailed: rows failed, with `errors="raise"`.
        """
        plan, reason = run.plan, run.stop_reason
        texts = run.texts.to_series()
        columns = result_columns(plan, run.results, texts, into=self.into, stopped=reason)
        result = plan.frame.copy(deep=False)
        for name, column in columns.items():  # `assign` could not take a column called "self"
            result[name] = column
        statuses, errors = columns[f"{self.into}_status"], columns[f"{self.into}_error"]
        report = _report(run, statuses, columns)
        result.attrs = {**plan.frame.attrs, "batch": report}
        if run.progress.mode == "line":
            counts = {"reused": run.progress.reused, "duplicates": plan.duplicate_count}
            run.progress.tell(summarize(statuses.tolist(), **counts))
        if reason:
            run.progress.tell(f"The batch stopped early: {reason}")
        failed = plan.row_count - report["ok"] - report["skipped"]
        if self.errors == "raise" and (failed or reason):
            sentence = f"{failed} of {plan.row_count} rows failed; error.frame holds them all."
            raise RowsFailed(f"{sentence} {reason or next(iter(errors.dropna()), '')}", result)
        return result


def check_name(name: Any) -> None:
    """Refuse what the log could not keep as the name of a batch.

    Raises:
        ConfigError: it is no text, a blank one, or one with lone surrogates.
    """
    if not isinstance(name, str) or not name.strip() or name != name.encode(errors="replace").decode():
        raise ConfigError(f"A batch has a text as its name=, not {ascii(name)[:60]}.")


def batch_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of a frame that batches made: asked again, they may be made anew."""
    report = frame.attrs.get("batch")
    return list(report.get("columns") or ()) if isinstance(report, dict) else []


async def _ask_for_default(connection: Connection) -> DefaultModel:
    return await endpoint_for(connection).default_model()


def _begin_progress(run: Runner) -> None:
    """Say what will not be sent, and show the bar."""
    plan, progress = run.plan, run.progress
    sentences = []
    if progress.reused:
        sentences.append(
            f"Reusing {progress.reused} of {plan.row_count} answers of batch {run.batch_log.batch_id!r} "
            "(fresh=True asks anew)."
        )
    if count := plan.duplicate_count:
        ask, share = ("row asks", "shares") if count == 1 else ("rows ask", "share")
        sentences.append(f"{count} {ask} what another asks and {share} its answer (dedupe=False).")
    if not run.batch_log.enabled:
        sentences.append("The log is off, so this batch cannot go on after a stop.")
    if sentences:
        progress.tell(" ".join(sentences))
    progress.begin(plan.asking_count)


@contextmanager
def _tell_if_stopped(run: Runner) -> Iterator[None]:
    """Take the bar away at the end, and after an interrupt say how far the batch came and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        run.progress.end()
        again = f"run it again to go on, hx.batch({run.batch_log.batch_id!r}) shows them"
        if not run.batch_log.enabled:
            again = "the log is off, so they are lost"
        run.progress.tell(f"Stopped: {run.progress.rows} of {run.plan.row_count} rows are done; {again}.")
        raise
    finally:
        run.progress.end()


def _report(run: Runner, statuses: pd.Series, added: Iterable[str]) -> dict[str, Any]:
    """Return what `attrs["batch"]` says of a finished batch: plain data that survives Parquet.

    Counts are rows; tokens and cost are those of the requests sent in this run, None if unknown.
    """
    counts = statuses.value_counts()
    sent = [*(result for result in run.results if not result.reused), *run.mismatches]
    currencies = {result.currency for result in sent if result.currency}
    return {
        "name": run.batch_log.batch_id,
        "rows": run.plan.row_count,
        **{status: int(counts.get(status, 0)) for status in STATUSES},
        "reused": run.progress.reused,
        "duplicates": run.plan.duplicate_count,
        "requests": run.sent,
        "prompt_tokens": _sum(result.prompt_tokens for result in sent),
        "completion_tokens": _sum(result.completion_tokens for result in sent),
        "unknown_usage": sum(result.status == "ok" and result.tokens is None for result in sent),
        "cost": _sum(result.cost for result in sent),
        "currency": currencies.pop() if len(currencies) == 1 else None,
        "stopped": run.stop_reason,
        "columns": list(dict.fromkeys([*batch_columns(run.plan.frame), *added])),
    }


def _sum(values: Iterable[float | None]) -> Any:
    reported = [value for value in values if value is not None]
    return sum(reported) if reported else None
