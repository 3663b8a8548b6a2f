"""`DataFrame.helix` and `Series.helix`. Importing this registers both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from pandas.api.extensions import register_dataframe_accessor, register_series_accessor

from ..chat.signature import same_parameters_as_method
from .batch import Batch
from .options import build_batch
from .results import column_names
from .rows.requests import VALUE, PromptSource


@register_dataframe_accessor("helix")
class FrameAccessor:
    """Prompts over the rows of a DataFrame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    @same_parameters_as_method(build_batch)
    def ask(self, template: PromptSource, into: str = "answer", **options: Any) -> pd.DataFrame:
        """Ask a model about every row; return a new frame with the answers.

        Equal rows are sent once. Asking again under the same name, or with the same template and
        settings, reuses each answer that is in the log already: after a crash or Ctrl-C, run the
        cell again. One bad row never costs another.

        Args:
            template: text with `{{column}}` in it (an exact column name, spaces allowed, else an
                expression over columns and `index`: attributes, items, slices, a format spec as in
                `{{price:.2f}}`), or a function row -> prompt or list of messages.
            into: prefix of the new columns.
            model: the model, or the name of a column that holds it; default: the endpoint's.
            endpoint: an endpoint's name; default: the current one.
            system: a system message; a template or a function, too.
            images: a column, or several, of paths, URLs, bytes or PIL images.
            schema: a pydantic model, dataclass, TypedDict, dict of name to type or JSON schema:
                one further column per field, validated, with one repair per row.
            name: the batch's name; default: a hash of template and settings.
            concurrency: requests in flight at once; "auto" finds out what the server bears.
            rpm, tpm: requests and tokens per minute.
            max_cost, max_total_tokens: stop before going over; the rest is `skipped`.
            missing: "skip" leaves rows with NA in a used column out, "blank" fills in nothing.
            dedupe: False sends equal rows one by one.
            fresh: True reuses nothing.
            reuse_cut: True also reuses answers cut at their token limit.
            errors: "raise" raises once all rows are through; `error.frame` holds them.
            progress: False shows and says nothing.
            timeout: seconds for one request.
            stream: False asks the server for whole answers instead of streams.
            **params: anything else goes to the model under its wire name (temperature, ...).

        Returns:
            The frame (same index, same order) with `answer`, `answer_status` (ok, truncated, error,
            skipped), `answer_error`, `answer_finish_reason` (str), `answer_prompt_tokens`,
            `answer_completion_tokens` (Int64), and a column per field of the schema (Int64,
            Float64, boolean, str, category, datetime64[us, UTC] or object). `attrs["batch"]`
            names the batch and sums it up. Every exchange is in `hx.log()`.

        Raises:
            ConfigError: a column, the template or a setting is wrong; nothing was sent.
            RowsFailed: with `errors="raise"`, at the end; its `frame` holds every row.

        >>> import helix_nb as hx, pandas as pd
        >>> cities = pd.DataFrame({"country": ["France", "Japan"]})
        >>> done = cities.helix.ask("What is the capital of {{country}}?", endpoint="demo", progress=False)
        >>> done["answer"].tolist()
        ['The capital of France is Paris.', 'The capital of Japan is Tokyo.']
        """
        return build_batch(template, into, **options)(self._frame)

    @same_parameters_as_method(build_batch)
    async def aask(self, template: PromptSource, into: str = "answer", **options: Any) -> pd.DataFrame:
        """Await what `ask` returns: for top-level await and other event loops."""
        return await build_batch(template, into, **options).aask(self._frame)

    @same_parameters_as_method(build_batch)
    def estimate(
        self, template: PromptSource, into: str = "answer", *, pilot: int = 0, **options: Any
    ) -> pd.DataFrame:
        """Estimate what `ask` with the same arguments would send and take, before it does.

        Args:
            template, into, ...: as in `ask`.
            pilot: send so many rows to measure on; they belong to the batch and are not sent again.
                Without, past answers in the log are the measure: this batch's, else those of other
                batches of the same endpoint and model.

        Returns:
            A DataFrame with `estimate`, `low`, `high` (Float64; nine of ten such totals lie between)
            and `source` (str) for `rows`, `skipped`, distinct `requests`, those `answered` already,
            those `to_send`, and what those will take: `prompt_tokens`, `completion_tokens`, `cost`,
            `duration_s` (with "auto" concurrency, at 8 requests at once; `rpm` and `tpm` count). NA is
            unknown.

        >>> import helix_nb as hx, pandas as pd
        >>> cities = pd.DataFrame({"country": ["France", "Japan", "France"]})
        >>> question = "What is the capital of {{country}}?"
        >>> int(cities.helix.estimate(question, endpoint="demo").loc["to_send", "estimate"])
        2
        """
        from .estimate import estimate

        return estimate(build_batch(template, into, **options), self._frame, pilot)


@register_series_accessor("helix")
class SeriesAccessor:
    """Prompts over the values of a Series."""

    def __init__(self, series: pd.Series) -> None:
        self._series = series

    @same_parameters_as_method(build_batch)
    def ask(self, template: PromptSource, into: str = "answer", **options: Any) -> pd.Series | pd.DataFrame:
        """Ask a model about every value; return a Series of answers on the same index.

        The template sees `{{value}}` and `{{index}}`; a function gets the value itself. With a
        schema the result is a DataFrame of the answer's columns and the fields. Everything else is
        as in `DataFrame.helix.ask`; where no answer came it has NA, and `attrs["batch"]` counts these.

        >>> import helix_nb as hx, pandas as pd
        >>> countries = pd.Series(["France", "Japan"])
        >>> question = "What is the capital of {{value}}?"
        >>> countries.helix.ask(question, endpoint="demo", progress=False).tolist()
        ['The capital of France is Paris.', 'The capital of Japan is Tokyo.']
        """
        batch = _of_values(build_batch(template, into, **options))
        return self._select(batch(self._frame()), batch)

    @same_parameters_as_method(build_batch)
    async def aask(
        self, template: PromptSource, into: str = "answer", **options: Any
    ) -> pd.Series | pd.DataFrame:
        """Await what `ask` returns: for top-level await and other event loops."""
        batch = _of_values(build_batch(template, into, **options))
        return self._select(await batch.aask(self._frame()), batch)

    def _frame(self) -> pd.DataFrame:
        frame = self._series.to_frame(VALUE)
        frame.attrs = {}
        return frame

    def _select(self, frame: pd.DataFrame, batch: Batch) -> pd.Series | pd.DataFrame:
        """Return the columns that the batch added to the values."""
        into, schema = batch.into, batch.spec.schema
        result = frame[into] if schema is None else frame[column_names(into, schema)]
        result.attrs = {**self._series.attrs, **frame.attrs}
        return result


def _of_values(batch: Batch) -> Batch:
    return replace(batch, spec=replace(batch.spec, single=True))
