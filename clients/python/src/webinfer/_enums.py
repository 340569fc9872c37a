"""Enums: between the names of the messages and those that people use."""

from __future__ import annotations

from typing import Any

from .errors import InvalidInputError


def enum_name(enum: Any, value: int, prefix: str) -> str:
    """What an enum's value is called among people: BACKEND_WEBNN_CPU is "webnn-cpu"."""
    name = enum.Name(value) if value in enum.values() else f"{prefix}{value}"
    return name.removeprefix(prefix).lower().replace("_", "-")


def enum_value(enum: Any, name: str, prefix: str) -> int:
    """The number of what is called so among people; 0 for ""."""
    known = {key.removeprefix(prefix).lower().replace("_", "-"): value for key, value in enum.items()}
    if name and name not in known:
        names = ", ".join(sorted(key for key, value in known.items() if value))
        raise InvalidInputError(f"{name!r} is none of {names}")
    return known.get(name, 0)
