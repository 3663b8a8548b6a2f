"""A batch from start to end: check, plan, reuse, send, and give the frame its columns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

from ..config.connection import Connection
from ..config.registry import resolve
from ..config.session import first_answer_note, known_default_model, replay_only
from ..endpoints.base import ModelChoice
from ..endpoints.registry import endpoint_for
from ..errors import ConfigError, RowsFailed
from ..origin import current_origin
from ..records.storage.log import current_log
from ..runtime.loop import run_here, run_sync
from .batch_log import BatchLog
from .limits import Limits
from .progress import Progress, summary
from .results import RowResult, column_names, result_columns
from .rows.plan import make_plan
from .rows.requests import BatchSpec
from .runner import Runner

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Batch:
    """Everything `df.helix.ask` was told. Frame in, frame out: `job(frame)` also works on a chunk.

    It pickles as long as its callables and its schema do, so that an engine can carry it.
    """

    recipe: BatchSpec
    into: str = "answer"
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

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Ask about every row and return the frame with its answers; Ctrl-C keeps what is done."""
        run = self.prepare(frame)
        try:
            run_sync(run.reuse())
            self._begin(run)
            run_sync(run.send())
        except KeyboardInterrupt:
            self._interrupted(run)
            raise
        finally:
            run.progress.end()
        return self.finish(run)

    async def aask(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same for an event loop of the caller's own."""
        run = await asyncio.to_thread(self.prepare, frame)
        try:
            await run_here(run.reuse())
            self._begin(run)
            await run_here(run.send())
        except (KeyboardInterrupt, asyncio.CancelledError):
            self._interrupted(run)
            raise
        finally:
            run.progress.end()
        return self.finish(run)

    def prepare(self, frame: pd.DataFrame) -> Runner:
        """Check everything and plan the requests; nothing is sent."""
        if not isinstance(self.recipe.prompt, str) and not callable(self.recipe.prompt):
            raise ConfigError(
                "The first argument is a template or a callable that makes the prompt of a row."
            )
        connection = resolve(self.endpoint)
        self._refuse_taken(frame)
        progress = Progress.wanted(self.progress)
        model, note = self.recipe.model, None
        if model is None:
            model, note = _default_model(connection)
        if note:
            progress.tell(note)
        log = current_log()
        identify = cache(partial(connection.identity, log.salt))
        bound = self.recipe.bound(frame, connection, model)
        batch_id = self.name or f"batch-{self.recipe.digest(identify(None))}"
        origin = replace(current_origin(), source="batch", batch_id=batch_id)
        plan = make_plan(bound.of(origin), identify, dedupe=self.dedupe, whole=self.offset is None)
        memory = BatchLog(
            log,
            batch_id,
            self.recipe.schema,
            fresh=self.fresh,
            reuse_cut=self.reuse_cut,
            offset=self.offset or 0,
        )
        if note := first_answer_note(connection, named=self.endpoint is not None):
            progress.tell(note)
        return Runner(plan, connection, memory, self.limits, progress, self.recipe.schema)

    def _refuse_taken(self, frame: pd.DataFrame) -> None:
        """Never write over a column that did not come from a batch; a Series has none to lose."""
        if self.recipe.single:
            return
        mine = batch_columns(frame)
        for name in column_names(self.into, self.recipe.schema):
            if name in frame.columns and name not in mine:
                own = name in column_names(self.into, None)
                instead = "choose another into=" if own else "rename that field of the schema"
                raise ConfigError(f"The frame already has a column {name!r}: {instead}, or drop it.")

    def _begin(self, run: Runner) -> None:
        """Say what will not be sent, and show the bar."""
        plan, progress = run.plan, run.progress
        said = []
        if progress.reused:
            said.append(
                f"Reusing {progress.reused} of {plan.rows} answers of batch {run.memory.batch_id!r} "
                "(fresh=True asks anew)."
            )
        if plan.duplicates:
            ask, share = ("row asks", "shares") if plan.duplicates == 1 else ("rows ask", "share")
            said.append(f"{plan.duplicates} {ask} what another asks and {share} its answer (dedupe=False).")
        if not run.memory.log.enabled:
            said.append("The log is off, so this batch cannot go on after a stop.")
        if said:
            progress.tell(" ".join(said))
        progress.begin(plan)

    def _interrupted(self, run: Runner) -> None:
        run.progress.end()
        kept = f"run it again to go on, hx.batch({run.memory.batch_id!r}) shows them"
        lost = "the log is off, so they are lost"
        run.progress.tell(
            f"Stopped: {run.progress.rows} of {run.plan.rows} rows are done; "
            f"{kept if run.memory.log.enabled else lost}."
        )

    def finish(self, run: Runner) -> pd.DataFrame:
        """The frame with its new columns, and what `attrs["batch"]` says."""
        frame, plan = run.plan.bound.rows.frame, run.plan
        texts, schema = run.texts.column(), self.recipe.schema
        added = result_columns(plan, run.outcomes, texts, stopped=run.stopped, into=self.into, schema=schema)
        result = frame.copy(deep=False)
        for name, column in added.items():  # `assign` could not take a column called "self"
            result[name] = column
        facts = report(run, added[f"{self.into}_status"], list(added))
        result.attrs = {**frame.attrs, "batch": facts}
        if run.progress.mode == "line":
            run.progress.tell(
                summary(added[f"{self.into}_status"].tolist(), run.progress.reused, plan.duplicates)
            )
        if run.stopped:
            run.progress.tell(f"The batch stopped early: {run.stopped}")
        failed = plan.rows - facts["ok"] - facts["skipped"]
        if self.errors == "raise" and (failed or run.stopped):
            first = added[f"{self.into}_error"].dropna()
            why = run.stopped or (first.iloc[0] if len(first) else "")
            raise RowsFailed(
                f"{failed} of {plan.rows} rows failed; error.frame holds them all. {why}", result
            )
        return result


def report(run: Runner, statuses: pd.Series, added: Sequence[str]) -> dict[str, Any]:
    """Counts are rows; tokens and cost are those of the requests sent in this run, None if unknown."""
    counts = statuses.value_counts()
    sent = [outcome for outcome in run.outcomes if outcome is not None and not outcome.reused]
    sent += run.unfit
    currencies = {outcome.currency for outcome in sent if outcome.currency}
    return {
        "name": run.memory.batch_id,
        "rows": run.plan.rows,
        **{status: int(counts.get(status, 0)) for status in ("ok", "truncated", "error", "skipped")},
        "reused": run.progress.reused,
        "duplicates": run.plan.duplicates,
        "requests": run.sent,
        "prompt_tokens": _sum(outcome.prompt_tokens for outcome in sent),
        "completion_tokens": _sum(outcome.completion_tokens for outcome in sent),
        "unknown_usage": sum(_ok_without_usage(outcome) for outcome in sent),
        "cost": _sum(outcome.cost for outcome in sent),
        "currency": currencies.pop() if len(currencies) == 1 else None,
        "stopped": run.stopped,
        "columns": list(dict.fromkeys([*batch_columns(run.plan.bound.rows.frame), *added])),
    }


def batch_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame that batches made: asked again, they may be made anew."""
    facts = frame.attrs.get("batch")
    return list(facts.get("columns") or ()) if isinstance(facts, dict) else []


def _sum(values: Iterable[float | None]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ok_without_usage(outcome: RowResult) -> bool:
    return outcome.status == "ok" and outcome.tokens is None


def check_name(name: Any) -> None:
    """Refuse what the log could not keep as the name of a batch."""
    if not isinstance(name, str) or not name.strip() or name != name.encode(errors="replace").decode():
        raise ConfigError(f"A batch has a text as its name=, not {ascii(name)[:60]}.")


def _default_model(connection: Connection) -> ModelChoice:
    """Choose the model of a batch that names none, so that its requests are the same when it goes on."""
    known = known_default_model(connection)
    if known or replay_only():
        return ModelChoice(known)
    return run_sync(_ask_for_default(connection))


async def _ask_for_default(connection: Connection) -> ModelChoice:
    return await endpoint_for(connection).default_model()
