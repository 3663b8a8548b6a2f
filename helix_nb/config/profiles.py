"""What each kind of server needs, as far as it differs from the protocol it speaks."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Profile:
    """How one kind of server differs from the protocol it speaks."""

    name: str
    needs_model: bool = True
    body_limit_bytes: int | None = None
    drops_zeros: bool = False  # `"temperature": 0` vanishes on the way, 1e-6 survives
    replaces_system: bool = False  # with a plain user key the first system message loses its content
    forces_schema: bool = False  # response_format loses parts of a schema, a tool's parameters survive
    parts: frozenset[str] | None = None  # the kinds of content part that survive; None: all


PROFILES = {
    "helix": Profile(
        "helix",
        needs_model=False,
        body_limit_bytes=10 * MIB,
        drops_zeros=True,
        replaces_system=True,
        forces_schema=True,
        parts=frozenset({"text", "image_url"}),
    ),
    "openai": Profile("openai"),
    "demo": Profile("demo", needs_model=False, body_limit_bytes=10 * MIB),
}


def profile_named(name: str) -> Profile:
    """Return the profile of that name; ConfigError lists the others."""
    if name in PROFILES:
        return PROFILES[name]
    raise ConfigError(f"No profile is called {name!r}; known: {', '.join(PROFILES)}.")
