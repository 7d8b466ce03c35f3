"""Whether something may be deleted in an environment; the shells ask here and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync_pipeline.core.environment import needs_name
from sync_pipeline.core.errors import EnvironmentNotNamedError

if TYPE_CHECKING:
    from sync_pipeline.core.environment import NamedEnvironment
    from sync_pipeline.engine.context import RunOptions
    from sync_pipeline.settings import Settings


def require_named(
    environment: NamedEnvironment | None, *, said: str | None, doing: str, how: str
) -> None:
    """Refuse to delete in a protected environment whose name was not said.

    Args:
        environment: Where; None where no environment is chosen.
        said: The name that was said; None for none.
        doing: What is about to happen, as in ``removing tenant acme``.
        how: How the name is said here, as in ``run `... --confirm-env prod```.

    Raises:
        EnvironmentNotNamedError: nothing was changed.
    """
    if needs_name(environment, said=said):
        raise EnvironmentNotNamedError(
            environment=None if environment is None else str(environment),
            said=said,
            doing=doing,
            how=how,
        )


def lifts_limit(options: RunOptions, settings: Settings) -> bool:
    """Whether a sync is allowed to delete more than the settings say."""
    limit = options.max_deleted_fraction
    is_higher = limit is not None and limit > settings.sync.max_deleted_fraction
    return is_higher or options.approve_deletions is not None
