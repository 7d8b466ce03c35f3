"""How one asset's result reaches the next: a small JSON manifest in the staging area.

The rows themselves are Parquet datasets that the manifest names. Nothing is pickled.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import dagster as dg

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import StagingArea
from sync_pipeline.core.reports import ScopeReport, StepSeconds
from sync_pipeline.defs.failures import as_dagster_failures
from sync_pipeline.engine.staged import AppliedChanges, StagedChanges, StagedExport

Manifest = StagedExport | StagedChanges | AppliedChanges | ScopeReport
"""What an asset hands on."""


def _read_report(values: Mapping[str, Any]) -> ScopeReport:
    return ScopeReport(**{**values, "seconds": StepSeconds(**values["seconds"])})


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Manifest]]] = {
    StagedExport.__name__: StagedExport.from_dict,
    StagedChanges.__name__: StagedChanges.from_dict,
    AppliedChanges.__name__: AppliedChanges.from_dict,
    ScopeReport.__name__: _read_report,
}


def manifest_name(asset: str, *, partition_key: str) -> str:
    """Where the latest result of an asset and scope is kept.

    The key is hashed: it may hold slashes and dots, and more characters than a
    file name can have.
    """
    return f"manifests/{asset}/{digest(partition_key)}"


def delete_manifests(staging: StagingArea, assets: Iterable[str], *, partition_key: str) -> None:
    """Forget the latest results of a partition; those that are missing are not an error."""
    for asset in assets:
        staging.delete(manifest_name(asset, partition_key=partition_key))


class StagedManifestIOManager(dg.IOManager):
    """Keeps the latest manifest of every asset and partition in the staging area."""

    def __init__(self, staging: StagingArea) -> None:
        self._staging = staging

    def handle_output(self, context: dg.OutputContext, obj: Manifest) -> None:
        """Write the manifest of the partition that was materialised."""
        name = manifest_name(context.asset_key.path[-1], partition_key=context.asset_partition_key)
        self._staging.write_manifest(name, {"kind": type(obj).__name__, "values": asdict(obj)})

    def load_input(self, context: dg.InputContext) -> Manifest:
        """Read the manifest that the asset before this one left for the partition.

        Raises:
            dagster.Failure: there is none, or an earlier release wrote it.
        """
        asset, partition_key = context.asset_key.path[-1], context.asset_partition_key
        name = manifest_name(asset, partition_key=partition_key)
        # A missing manifest stays missing: without this Dagster would retry for a minute.
        with as_dagster_failures(retry_number=0):
            stored = self._staging.read_manifest(name)
            if stored is None:
                raise PermanentError(
                    f"there is no result of {asset} for {partition_key!r} in the staging area; "
                    "run the partition from exported_documents on"
                )
            return _decode(stored, asset=asset)


def _decode(stored: Mapping[str, Any], *, asset: str) -> Manifest:
    try:
        return _READERS[stored["kind"]](stored["values"])
    except (KeyError, TypeError) as error:
        raise PermanentError(
            f"the staged result of {asset} was written by another release; "
            "run the partition from exported_documents on"
        ) from error


@dg.io_manager(required_resource_keys={"sync"})
def staged_manifests(context: dg.InitResourceContext) -> StagedManifestIOManager:
    """Hand over through the staging area of the installation."""
    return StagedManifestIOManager(context.resources.sync.staging)
