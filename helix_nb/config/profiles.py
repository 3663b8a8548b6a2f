"""How kinds of server differ from the protocol they speak: the only list of profiles there is."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Profile:
    """One kind of server. Each default describes a server that takes everything the protocol has."""

    name: str
    needs_model: bool = True  # False: a request without a model is answered by the server's own choice
    body_limit_bytes: int | None = None  # None: no limit is known
    drops_zeros: bool = False  # `"temperature": 0` vanishes on the way, 1e-6 survives
    replaces_system: bool = False  # with a plain user key the first system message loses its content
    forces_schema: bool = False  # response_format loses parts of a schema, a tool's parameters survive
    parts: frozenset[str] | None = None  # the types of content part that survive; None: all


PROFILES = {
    "openai": Profile("openai"),
    "helix": Profile(
        "helix",
        needs_model=False,
        body_limit_bytes=10 * MIB,
        drops_zeros=True,
        replaces_system=True,
        forces_schema=True,
        parts=frozenset({"text", "image_url"}),
    ),
    "demo": Profile("demo", needs_model=False, body_limit_bytes=10 * MIB),
}


def profile_named(name: object) -> Profile:
    """Return the profile of that name; ConfigError lists the others."""
    profile = PROFILES.get(name) if isinstance(name, str) else None
    if profile is None:
        raise ConfigError(f"No profile is called {name!r}; known: {', '.join(PROFILES)}.")
    return profile
