"""Schemas of answers and tool calls, and the reading of JSON text against them.

Importing this loads neither pydantic nor jsonschema. Inside, imports run tool > schema > the rest.
"""

from __future__ import annotations

from .schema import Schema
from .tool import Tool

__all__ = ["Schema", "Tool"]
