"""An installation that lands products, with its settings; its origin is in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sync_pipeline.engine.context import SyncContext, utc_now
from sync_pipeline.engine.landing.landings import Landings
from sync_pipeline.settings import Settings
from sync_pipeline_tests.landing.site import LandingSite


def landing_settings(*names: str, **more: Any) -> Settings:
    """Settings with landings of these names; each takes ``more`` too."""
    landings = [
        {
            "name": name,
            "from": f"raw.{name}",
            "id": "id",
            "owner": {"global": True},
            "columns": {"name": "name", "price": {"field": "price", "type": "numeric"}},
            **more,
        }
        for name in names or ("products",)
    ]
    return Settings.model_validate({"landings": landings})


def landed(sync: SyncContext, *sites: LandingSite) -> SyncContext:
    """The context with these landings, whose tables are prepared; its clock is the real one."""
    origins = {site.landing.name: site.origin for site in sites}
    landings = Landings(
        landings=tuple(site.landing for site in sites),
        store=sites[0].store,
        open_origin=lambda landing: origins[landing.name],
    )
    landings.prepare()
    return replace(sync, landings=landings, now=utc_now)
