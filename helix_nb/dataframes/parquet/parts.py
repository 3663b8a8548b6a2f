"""One part of an answered dataset: the source's rows as they were stored, and the columns of the batch.

All parts have the same types whatever their rows hold, so that they read back as one dataset.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...schemas import json_schema
from .dataset import index_counts_rows

if TYPE_CHECKING:
    import pandas as pd

    from ...schemas import Schema

DEEPEST = 8  # levels of lists and objects; a schema may refer to itself


def write_part(
    table: Any, result: pd.DataFrame, added: Sequence[str], *, schema: Schema | None, path: Path, offset: int
) -> None:
    """Write a part whole or not at all; only an index that just counts rows is left to the reader.

    `table` has the source's rows as they were stored, `result` the frame that the batch made of them,
    `added` its new columns; `offset` is the position of the first row in the source.

    Raises:
        ConfigError: it cannot be written there.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = result.index
    counts_on = isinstance(index, pd.RangeIndex) and (index.start, index.step, index.name) == (
        offset,
        1,
        None,
    )
    partial = path.with_name(f".{path.name}.partial")  # readers of a folder pass over a leading dot
    try:
        keep_index = index_counts_rows(table.schema) and not counts_on
        answers = _answer_table(result[list(added)], schema, keep_index=keep_index)
        pq.write_table(_join(table, answers, result.attrs), partial)
        partial.replace(path)
    except (OSError, OverflowError, pa.ArrowException) as problem:
        raise ConfigError(f"{path} cannot be written: {problem}. The answers are in the log.") from None
    finally:
        partial.unlink(missing_ok=True)


def _answer_table(frame: pd.DataFrame, schema: Schema | None, *, keep_index: bool) -> Any:
    """Return the batch's own columns; objects get the type that the schema says, or are text."""
    import pyarrow as pa

    objects = [name for name in frame.columns if _holds_objects(frame[name])]
    table = pa.Table.from_pandas(frame.drop(columns=objects), preserve_index=keep_index)
    for name in objects:
        type_ = None
        if schema is not None:
            root = schema.json_schema
            type_ = arrow_type(root, root["properties"][name])
        table = table.append_column(str(name), _object_column(frame[name].tolist(), type_))
    return table


def _holds_objects(column: pd.Series) -> bool:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return len({type(value) for value in column.cat.categories.tolist()}) > 1
    return bool(column.dtype == object)


def _object_column(values: list[Any], type_: Any) -> Any:
    import pyarrow as pa
    from pydantic_core import to_jsonable_python

    cells = [None if value is None else to_jsonable_python(value, serialize_unknown=True) for value in values]
    if type_ is None:
        return pa.array([cell if cell is None else _text(cell) for cell in cells], pa.string())
    return pa.array(cells, type_)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def arrow_type(root: Any, part: Any, depth: int = 0) -> Any:
    """Return the Arrow type of all that a part of a JSON schema allows; None where it has no single one."""
    import pyarrow as pa

    part = json_schema.resolve(root, part)
    types = [name for name in json_schema.as_list(part.get("type")) if name != "null"]
    options = [
        option for option in part.get("anyOf", []) if json_schema.resolve(root, option).get("type") != "null"
    ]
    if len(options) == 1 and not types:
        return arrow_type(root, options[0], depth)
    if len(types) != 1 or options or depth > DEEPEST:
        return None
    if types[0] == "array":
        item = None if "prefixItems" in part else arrow_type(root, part.get("items", {}), depth + 1)
        return None if item is None else pa.list_(item)
    if types[0] == "object":
        return _struct_type(root, part, depth)
    scalars = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return scalars.get(types[0])


def _struct_type(root: Any, part: Any, depth: int) -> Any:
    import pyarrow as pa

    if part.get("additionalProperties") or not part.get("properties"):
        return None
    fields = {name: arrow_type(root, field, depth + 1) for name, field in part["properties"].items()}
    return None if None in fields.values() else pa.struct(list(fields.items()))


def _join(table: Any, answers: Any, attrs: dict[Any, Any]) -> Any:
    """Join the source's columns, the batch's, and what pandas needs to read them back as they were."""
    metadata = table.schema.metadata or {}
    of_answers = json.loads(answers.schema.metadata[b"pandas"])
    joined = json.loads(metadata[b"pandas"]) if b"pandas" in metadata else of_answers
    of_source = [column for column in joined["columns"] if column["field_name"] not in answers.column_names]
    by_number = index_counts_rows(table.schema)
    index_columns = of_answers["index_columns"] if by_number else joined["index_columns"]
    for name in answers.column_names:
        at = table.schema.get_field_index(name)
        field, column = answers.schema.field(name), answers.column(name)
        table = table.append_column(field, column) if at < 0 else table.set_column(at, field, column)
    joined |= {"columns": [*of_source, *of_answers["columns"]], "index_columns": index_columns}
    if len(joined["column_indexes"]) == 1:
        # because numbers as names became text beside ours
        joined |= {"column_indexes": of_answers["column_indexes"]}
    texts = {"pandas": json.dumps(joined), "PANDAS_ATTRS": json.dumps(attrs, default=str)}
    return table.replace_schema_metadata({**metadata, **{key.encode(): text for key, text in texts.items()}})
