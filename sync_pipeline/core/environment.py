"""Named environments of one settings file, and when deleting in one takes its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEnvironment:
    """The environment that a program works in: ``dev``, ``staging``, ``prod``."""

    name: str
    is_protected: bool = False
    """Whether whoever deletes something has to say the name."""

    def __str__(self) -> str:
        return f"{self.name} (protected)" if self.is_protected else self.name


def needs_name(environment: NamedEnvironment | None, *, said: str | None) -> bool:
    """Whether its name has to be said before something is deleted.

    Args:
        environment: Where; None where no environment is chosen.
        said: The name that was said, None for none. Another name than that of the environment
            counts as none everywhere: whoever says it means another place.
    """
    if environment is None:
        return said is not None
    if said is None:
        return environment.is_protected
    return said != environment.name
