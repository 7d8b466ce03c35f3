"""The landings of an installation, where their records come from and where they land."""

from __future__ import annotations

from dataclasses import dataclass, field

from sync_pipeline.core.errors import UnknownLandingError
from sync_pipeline.core.landing.spec import Landing
from sync_pipeline.core.ports import LandingStore, OpenOrigin
from sync_pipeline.engine.landing.ages import KnownPasses


@dataclass(frozen=True, slots=True, kw_only=True)
class Landings:
    """Made by ``wiring``; opens nothing."""

    landings: tuple[Landing, ...]
    store: LandingStore
    open_origin: OpenOrigin
    known: KnownPasses = field(default_factory=KnownPasses, repr=False, compare=False)
    """What searches go by."""

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the settings."""
        return tuple(it.name for it in self.landings)

    def prepare(self) -> list[str]:
        """Make tables and columns that are missing; what was made, for people.

        Raises:
            ConfigurationError: a table is somebody else's, or the role may not.
        """
        return self.store.prepare(self.landings)

    def landing(self, name: str) -> Landing:
        """One landing by its name.

        Raises:
            UnknownLandingError: the settings have no such landing.
        """
        for landing in self.landings:
            if landing.name == name:
                return landing
        raise UnknownLandingError(name=name, known=self.names)
