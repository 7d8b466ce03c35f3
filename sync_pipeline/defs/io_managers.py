"""How one asset's result reaches the next: a small JSON manifest in the staging area.

The rows themselves are Parquet datasets that the manifest names. Nothing is pickled.
"""

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import dagster as dg

from sync_pipeline.core.errors import PermanentError
from sync_pipeline.core.hashing import digest
from sync_pipeline.core.ports import StagingArea
from sync_pipeline.core.reports import ScopeReport, StepSeconds
from sync_pipeline.core.scope import Scope
from sync_pipeline.defs.failures import as_dagster_failures
from sync_pipeline.engine.staged import (
    AppliedChanges,
    EmbeddedTexts,
    StagedChanges,
    StagedComparison,
    StagedExport,
    run_folder,
)

IO_MANAGER_KEY: Final = "staged_manifests"
"""Name of the resource."""

Manifest = (
    StagedExport | StagedComparison | EmbeddedTexts | StagedChanges | AppliedChanges | ScopeReport
)
"""What a step hands on."""


def _read_report(values: Mapping[str, Any]) -> ScopeReport:
    return ScopeReport(**{**values, "seconds": StepSeconds(**values["seconds"])})


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Manifest]]] = {
    StagedExport.__name__: StagedExport.from_dict,
    StagedComparison.__name__: StagedComparison.from_dict,
    EmbeddedTexts.__name__: EmbeddedTexts.from_dict,
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
    """Keeps the latest manifest of every asset and partition in the staging area.

    What the ops of one asset hand to each other is kept with the files of their run.
    """

    def __init__(self, staging: StagingArea) -> None:
        self._staging = staging

    def handle_output(self, context: dg.OutputContext, obj: Manifest | int) -> None:
        """Write what a step hands on."""
        self._staging.write_manifest(_place(context).name, _encode(obj))

    def load_input(self, context: dg.InputContext) -> Manifest | int:
        """Read what the step before this one left.

        Raises:
            dagster.Failure: there is nothing, or an earlier release wrote it.
        """
        if context.upstream_output is None and not context.has_asset_key:
            raise PermanentError(f"the input {context.name} comes from no step")
        place = _place(context)
        # A missing manifest stays missing: without this Dagster would retry for a minute.
        with as_dagster_failures(retry_number=0):
            stored = self._staging.read_manifest(place.name)
            if stored is None:
                raise PermanentError(
                    f"there is no result of {place.step} for {place.partition_key!r} in the "
                    f"staging area, {self._staging.location}, as {socket.gethostname()} sees it.",
                    remedy="Run the partition from exported_documents on. Where several machines "
                    "run steps, `staging.url` has to be a place that all of them reach, such as "
                    "s3://BUCKET/PREFIX.",
                )
            return _decode(stored, step=place.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a step's result is kept."""

    step: str
    partition_key: str
    name: str


def _place(context: dg.OutputContext | dg.InputContext) -> _Place:
    """Of an asset with its partition, of an op within one with its run."""
    if context.has_asset_key:
        asset, key = context.asset_key.path[-1], context.asset_partition_key
        name = manifest_name(asset, partition_key=key)
        return _Place(step=asset, partition_key=key, name=name)
    output = context if isinstance(context, dg.OutputContext) else context.upstream_output
    if output is None:
        raise ValueError("an op's input comes from another op")
    key = context.partition_key
    run_id, *words = output.get_identifier()
    folder = run_folder(scope=Scope.from_key(key), run_id=run_id)
    # A step key has brackets, and dots where ops are nested: no folder is called like that.
    return _Place(step=words[0], partition_key=key, name=f"{folder}/ops/{digest(*words)}")


def _encode(obj: Manifest | int) -> dict[str, Any]:
    if isinstance(obj, int):
        return {"kind": "int", "values": obj}
    return {"kind": type(obj).__name__, "values": asdict(obj)}


def _decode(stored: Mapping[str, Any], *, step: str) -> Manifest | int:
    try:
        if stored["kind"] == "int":
            return int(stored["values"])
        return _READERS[stored["kind"]](stored["values"])
    except (KeyError, TypeError) as error:
        raise PermanentError(
            f"the staged result of {step} was written by another release; "
            "run the partition from exported_documents on"
        ) from error


@dg.io_manager(required_resource_keys={"sync"})
def staged_manifests(context: dg.InitResourceContext) -> StagedManifestIOManager:
    """Hand over through the staging area of the installation."""
    return StagedManifestIOManager(context.resources.sync.staging)
