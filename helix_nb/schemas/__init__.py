"""What an answer or a tool call has to look like: a schema, and the reading of JSON text against it.

Importing this loads neither pydantic nor jsonschema.
"""

from __future__ import annotations

from .schema import Schema
from .tool import Tool

__all__ = ["Schema", "Tool"]
