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

    Raises:
        ConfigError: it cannot be written there.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = result.index
    plain = isinstance(index, pd.RangeIndex) and (index.start, index.step, index.name) == (offset, 1, None)
    partial = path.with_name(f".{path.name}.partial")  # readers of a folder pass over a leading dot
    try:
        made = _made(result[list(added)], schema, keep_index=index_counts_rows(table.schema) and not plain)
        pq.write_table(_joined(table, made, result.attrs), partial)
        partial.replace(path)
    except (OSError, OverflowError, pa.ArrowException) as problem:
        raise ConfigError(f"{path} cannot be written: {problem}. The answers are in the log.") from None
    finally:
        partial.unlink(missing_ok=True)


def _made(new: pd.DataFrame, schema: Schema | None, *, keep_index: bool) -> Any:
    """The batch's own columns as a table; objects get the type that the schema says, or are text."""
    import pyarrow as pa

    parts = {} if schema is None else schema.json_schema.get("properties") or {}
    objects = [name for name in new.columns if _is_object(new[name])]
    made = pa.Table.from_pandas(new.drop(columns=objects), preserve_index=keep_index)
    for name in objects:
        kind = arrow_type(schema.json_schema, parts[name]) if schema is not None else None
        made = made.append_column(str(name), _cells(new[name].tolist(), kind))
    return made


def _is_object(column: pd.Series) -> bool:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return len({type(value) for value in column.cat.categories.tolist()}) > 1
    return bool(column.dtype == object)


def _cells(values: list[Any], kind: Any) -> Any:
    import pyarrow as pa
    from pydantic_core import to_jsonable_python

    plain = [None if value is None else to_jsonable_python(value, serialize_unknown=True) for value in values]
    if kind is None:
        return pa.array([one if one is None else _text(one) for one in plain], pa.string())
    return pa.array(plain, kind)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def arrow_type(root: Any, part: Any, depth: int = 0) -> Any:
    """The Arrow type of everything that a part of a JSON schema allows; None where it has no single one."""
    import pyarrow as pa

    part = json_schema.resolve(root, part)
    kinds = [kind for kind in json_schema.several(part.get("type")) if kind != "null"]
    options = [one for one in part.get("anyOf", []) if json_schema.resolve(root, one).get("type") != "null"]
    if len(options) == 1 and not kinds:
        return arrow_type(root, options[0], depth)
    if len(kinds) != 1 or options or depth > DEEPEST:
        return None
    if kinds[0] == "array":
        inner = None if "prefixItems" in part else arrow_type(root, part.get("items", {}), depth + 1)
        return None if inner is None else pa.list_(inner)
    if kinds[0] == "object":
        return _struct(root, part, depth)
    scalars = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return scalars.get(kinds[0])


def _struct(root: Any, part: Any, depth: int) -> Any:
    import pyarrow as pa

    if part.get("additionalProperties") or not part.get("properties"):
        return None
    inner = {name: arrow_type(root, one, depth + 1) for name, one in part["properties"].items()}
    return None if None in inner.values() else pa.struct(list(inner.items()))


def _joined(table: Any, made: Any, attrs: dict[Any, Any]) -> Any:
    """The source's columns, the batch's, and what pandas needs to read them back as they were."""
    stored = table.schema.metadata or {}
    ours = json.loads(made.schema.metadata[b"pandas"])
    facts = json.loads(stored[b"pandas"]) if b"pandas" in stored else ours
    columns = [one for one in facts["columns"] if one["field_name"] not in made.column_names]
    index = ours["index_columns"] if index_counts_rows(table.schema) else facts["index_columns"]
    for name in made.column_names:
        at = table.schema.get_field_index(name)
        field, column = made.schema.field(name), made.column(name)
        table = table.append_column(field, column) if at < 0 else table.set_column(at, field, column)
    facts |= {"columns": [*columns, *ours["columns"]], "index_columns": index}
    if len(facts["column_indexes"]) == 1:
        facts |= {"column_indexes": ours["column_indexes"]}  # numbers as names became text beside ours
    texts = {"pandas": json.dumps(facts), "PANDAS_ATTRS": json.dumps(attrs, default=str)}
    return table.replace_schema_metadata({**stored, **{key.encode(): text for key, text in texts.items()}})
