"""Manifests, the values of Dagster's chart, and the pods that Dagster makes of them.

The chart itself is not here. What is not proven: that the chart renders these values as written.
Its keys were compared with its documented values by hand (``CHART_KEYS``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
import kubernetes_validate  # type: ignore[import-untyped]  # has none
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job

from sync_pipeline.defs.dagster_private import PARTITION_NAME_TAG
from sync_pipeline.hosting.instance import shipped_settings
from sync_pipeline_tests.deploy.files import MANIFESTS, VALUES, documents

IMAGE: Final = "registry.example.com/sync-pipeline:0.1.0"
WITH_PODS: Final = ("Deployment", "Job")

CHART_KEYS: Final = frozenset(
    """
    global.postgresqlSecretName generatePostgresqlPasswordSecret
    postgresql.enabled postgresql.postgresqlHost postgresql.postgresqlUsername
    postgresql.postgresqlDatabase postgresql.service
    dagster-user-deployments.enabled dagster-user-deployments.enableSubchart
    dagster-user-deployments.deployments
    dagsterWebserver.image dagsterWebserver.service dagsterWebserver.podSecurityContext
    dagsterWebserver.securityContext dagsterWebserver.resources
    dagsterDaemon.enabled dagsterDaemon.image dagsterDaemon.podSecurityContext
    dagsterDaemon.securityContext dagsterDaemon.resources dagsterDaemon.runCoordinator
    dagsterDaemon.runMonitoring dagsterDaemon.runRetries
    runLauncher.type runLauncher.config
    retention.enabled retention.schedule retention.sensor
    telemetry.enabled
    """.split()  # noqa: SIM905 - a list of words reads better
)
"""Compared with values.yaml of the chart. Do so for each that is added, for Helm ignores a key that
the chart does not know."""
DEPLOYMENT_KEYS: Final = frozenset(
    """
    name image codeServerArgs port includeConfigInLaunchedRuns envSecrets envConfigMaps volumes
    volumeMounts podSecurityContext securityContext resources readinessProbe
    """.split()  # noqa: SIM905 - a list of words reads better
)
"""Of one element of ``deployments``, compared in the same way."""

KUBECONFIG: Final = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
contexts: [{name: none, context: {cluster: none, user: nobody}}]
current-context: none
"""


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return documents(VALUES)[0]


def mistakes(resource: Mapping[str, Any]) -> str | None:
    """What the schema of the newest known Kubernetes says against a resource."""
    try:
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return None


def resources() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.stem}: {found['kind']} {found['metadata']['name']}", found)
        for path in MANIFESTS
        for found in documents(path)
    ]


@pytest.mark.parametrize(
    "resource", [found for _, found in resources()], ids=[name for name, _ in resources()]
)
def test_every_manifest_is_one_that_kubernetes_takes(resource: dict[str, Any]) -> None:
    assert mistakes(resource) is None


def test_the_schema_finds_a_word_that_kubernetes_does_not_know() -> None:
    (deployment,) = (found for name, found in resources() if "Deployment sync-pipeline-f" in name)
    deployment = yaml.safe_load(yaml.safe_dump(deployment))
    deployment["spec"]["template"]["spec"]["containers"][0]["evnFrom"] = []

    assert "evnFrom" in str(mistakes(deployment))


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The specification of every pod in the manifests."""
    return [
        (name, found["spec"]["template"]["spec"])
        for name, found in resources()
        if found["kind"] in WITH_PODS
    ]


@pytest.mark.parametrize(("name", "pod"), pods())
def test_no_pod_of_ours_may_more_than_it_needs(name: str, pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True, name
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"].keys() == {"requests", "limits"}
    assert container["image"] == IMAGE


def test_what_pods_refer_to_is_there(values: dict[str, Any]) -> None:
    made = {(found["kind"], found["metadata"]["name"]) for _, found in resources()}
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    wanted = {("Secret", values["global"]["postgresqlSecretName"])}
    wanted |= {("Secret", source["name"]) for source in deployment["envSecrets"]}
    wanted |= {("ConfigMap", source["name"]) for source in deployment["envConfigMaps"]}
    wanted |= {("ConfigMap", volume["configMap"]["name"]) for volume in deployment["volumes"]}
    for _, pod in pods():
        for source in pod["containers"][0]["envFrom"]:
            ((kind, reference),) = source.items()
            wanted.add(({"secretRef": "Secret"}.get(kind, "ConfigMap"), reference["name"]))
        wanted |= {
            ("ConfigMap", volume["configMap"]["name"])
            for volume in pod["volumes"]
            if "configMap" in volume
        }

    assert len(wanted) == 4
    assert wanted <= made


def test_every_process_runs_in_the_same_image(values: dict[str, Any]) -> None:
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    images = [part["image"] for part in (deployment, *_dagsters_own(values))]

    assert {f"{image['repository']}:{image['tag']}" for image in images} == {IMAGE}


def _dagsters_own(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [values["dagsterWebserver"], values["dagsterDaemon"]]


def test_the_chart_is_given_only_keys_that_were_compared_with_its_own(
    values: dict[str, Any],
) -> None:
    used = {
        f"{key}.{inner}" if isinstance(value, dict) else key
        for key, value in values.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    (deployment,) = values["dagster-user-deployments"]["deployments"]

    assert used == CHART_KEYS
    assert deployment.keys() == DEPLOYMENT_KEYS


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def launcher_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the chart writes into dagster.yaml for the launcher."""
    given = values["runLauncher"]["config"]["k8sRunLauncher"]
    return {
        **{snake(key): value for key, value in given.items()},
        "run_k8s_config": {snake(key): value for key, value in given["runK8sConfig"].items()},
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "dagster_home": "/opt/dagster/dagster_home",
        "job_namespace": "default",
    }


def instance_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the chart writes into dagster.yaml for the daemon."""
    daemon = values["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    retention = values["retention"]
    return {
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": daemon["runCoordinator"]["type"],
            "config": {snake(key): value for key, value in queue.items()},
        },
        "run_monitoring": {snake(key): value for key, value in daemon["runMonitoring"].items()},
        "run_retries": {snake(key): value for key, value in daemon["runRetries"].items()},
        "retention": {
            tick: {"purge_after_days": retention[tick]["purgeAfterDays"]}
            for tick in ("schedule", "sensor")
        },
        "telemetry": values["telemetry"],
    }


def test_dagster_takes_what_the_chart_makes_of_the_values(values: dict[str, Any]) -> None:
    launcher = process_config(
        resolve_to_config_type(K8sRunLauncher.config_type()),  # type: ignore[no-untyped-call]
        launcher_config(values),
    )
    instance = process_config(
        resolve_to_config_type(dagster_instance_config_schema()), instance_config(values)
    )

    assert launcher.success, launcher.errors
    assert instance.success, instance.errors


def test_the_daemon_is_told_what_dagster_yaml_says(values: dict[str, Any]) -> None:
    shipped = yaml.safe_load(shipped_settings())
    made = instance_config(values)

    assert made["retention"] == shipped["retention"]
    assert made["telemetry"] == shipped["telemetry"]
    limits = shipped["concurrency"]["runs"]["tag_concurrency_limits"]
    # The other is about the embedded index, which no pod has.
    per_scope = [limit for limit in limits if limit["key"] == PARTITION_NAME_TAG]
    assert made["run_coordinator"]["config"]["tag_concurrency_limits"] == per_scope
    assert made["run_retries"]["max_retries"] == shipped["run_retries"]["max_retries"]
    for name in ("enabled", "poll_interval_seconds", "cancel_timeout_seconds"):
        assert made["run_monitoring"][name] == shipped["run_monitoring"][name]


@pytest.fixture
def job(values: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The Kubernetes job of one run, as the launcher makes it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG, encoding="utf-8")
    reach = {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    launcher = K8sRunLauncher(**{**launcher_config(values), **reach})
    run = dg.DagsterRun(
        job_name="sync_scope_job", run_id="0", job_code_origin=_origin(values), tags={}
    )
    context = launcher.get_container_context_for_run(run)
    made: dict[str, Any] = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(job_image=IMAGE, run_launcher=launcher),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-0",
        pod_name="dagster-run-0",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
    ).to_dict()
    sent: dict[str, Any] = _as_sent(made)
    return sent


def _origin(values: Mapping[str, Any]) -> JobPythonOrigin:
    """Where the code of a run is, with what the chart tells its code server about pods."""
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    told = {
        "env_secrets": [source["name"] for source in deployment["envSecrets"]],
        "env_config_maps": [source["name"] for source in deployment["envConfigMaps"]],
        "volumes": deployment["volumes"],
        "volume_mounts": deployment["volumeMounts"],
        "image_pull_policy": deployment["image"]["pullPolicy"],
    }
    repository = RepositoryPythonOrigin(
        executable_path="python",
        code_pointer=ModuleCodePointer("sync_pipeline.definitions", "defs"),
        container_image=IMAGE,
        container_context={"k8s": told},
    )
    return JobPythonOrigin("sync_scope_job", repository)


def _as_sent(value: Any) -> Any:
    """With the names of the interface, and without what is not set."""
    if isinstance(value, Mapping):
        camel = {re.sub(r"_(\w)", lambda m: m[1].upper(), key): it for key, it in value.items()}
        return {key: _as_sent(it) for key, it in camel.items() if it is not None}
    if isinstance(value, list):
        return [_as_sent(it) for it in value]
    return value


def test_the_pod_of_a_run_has_settings_secrets_and_bounds(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
    passwords = [
        variable["valueFrom"]["secretKeyRef"]
        for variable in container["env"]
        if variable["name"] == "DAGSTER_PG_PASSWORD"
    ]

    assert mistakes(job) is None
    assert sorted(sources) == ["sync-pipeline", "sync-pipeline-environment"]
    assert passwords == [{"name": "sync-pipeline-dagster-database", "key": "postgresql-password"}]
    assert "/etc/sync-pipeline" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["image"] == IMAGE
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"memory": "3Gi"},
    }


def test_the_pod_of_a_run_is_not_root_and_goes_a_day_after_its_end(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["terminationGracePeriodSeconds"] == 120
    assert job["spec"]["ttlSecondsAfterFinished"] == 86_400


def test_the_secret_of_the_chart_has_the_key_that_pods_read() -> None:
    (secret,) = (
        found
        for _, found in resources()
        if found["metadata"]["name"] == "sync-pipeline-dagster-database"
    )

    assert list(secret["stringData"]) == ["postgresql-password"]
