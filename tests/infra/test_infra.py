"""The files of infra/, against Prefect's own models and a schema of Compose.

Nothing here builds an image or starts a container; Compose itself is asked only where there is one.
"""

import importlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import ray
import yaml
from prefect import Flow
from prefect.cli.deploy._models import PrefectYamlModel, RawScheduleConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.server.events.schemas.automations import AutomationCore
from prefect.server.schemas.actions import DeploymentCreate
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from flows.events import DEGRADED, FINISHED
from flows.labelling import GPU_LIMIT
from flows.local import DEPLOYMENT, DEPLOYMENTS, POOL
from flows.retry_failed import RetryFailedForm

INFRA = Path(__file__).parents[2] / "infra"
AUTOMATIONS = sorted((INFRA / "automations").glob("*.yaml"))
FLOWS = {
    "label_corpus",
    "label_new",
    "retry_failed",
    "export_dataset",
    "evaluate_run",
    "reap_orphans",
}


@pytest.fixture(scope="module")
def deployments() -> list[Any]:
    return PrefectYamlModel.model_validate(read(DEPLOYMENTS)).deployments


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load(entrypoint: str) -> Flow[..., Any]:
    """The flow behind a module path."""
    module, _, name = entrypoint.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


def test_every_flow_is_deployed_to_the_laptop_and_to_the_cluster(deployments: list[Any]) -> None:
    found = sorted((d.entrypoint, d.name, d.work_pool.name) for d in deployments)
    pools = {DEPLOYMENT: POOL, "cluster": "possam-kubernetes"}
    assert found == sorted(
        (f"flows.{name}.{name}", place, pool) for name in FLOWS for place, pool in pools.items()
    )


def test_every_entrypoint_is_a_flow_and_what_its_schedules_fill_in_is_in_its_form(
    deployments: list[Any],
) -> None:
    for deployment in deployments:
        flow = load(deployment.entrypoint)
        assert deployment.tags[0] == "possam"
        DeploymentCreate(  # Prefect checks tags, parameters and the form's own schema
            name=deployment.name,
            flow_id="00000000-0000-0000-0000-000000000000",
            entrypoint=deployment.entrypoint,
            tags=deployment.tags,
            parameters=deployment.parameters,
            parameter_openapi_schema=parameter_schema(flow).model_dump(),
            pull_steps=deployment.pull,
        )
        for schedule in deployment.schedules or []:
            assert isinstance(schedule, RawScheduleConfig)
            CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
            flow.validate_parameters(schedule.parameters)


def test_only_label_new_and_the_reaper_have_schedules_and_the_first_waits_for_its_owner(
    deployments: list[Any],
) -> None:
    scheduled = {
        (d.entrypoint.rpartition(".")[2], d.name): [s.active for s in d.schedules]
        for d in deployments
        if d.schedules
    }
    assert scheduled == {
        ("label_new", "laptop"): [False],
        ("label_new", "cluster"): [False],
        ("reap_orphans", "cluster"): [True],
    }


def test_work_is_limited_by_the_global_limit_alone(deployments: list[Any]) -> None:
    assert GPU_LIMIT in DEPLOYMENTS.read_text()
    for deployment in deployments:
        assert deployment.concurrency_limit is None
        assert load(deployment.entrypoint).retries == 0


@pytest.mark.parametrize("path", AUTOMATIONS, ids=lambda path: path.stem)
def test_prefects_schema_takes_each_automation(path: Path) -> None:
    AutomationCore.model_validate(read(path))


def test_automations_react_to_our_events() -> None:
    expected = {path.stem: read(path)["trigger"]["expect"] for path in AUTOMATIONS}
    assert expected["quality-degraded"] == [DEGRADED]
    assert expected["retry-failed"] == [FINISHED]
    assert "prefect.flow-run.heartbeat" in expected["silent-flow"]


def test_a_living_flow_has_three_heartbeats_in_the_time_after_which_it_is_taken_for_dead() -> None:
    every_s = PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
    assert read(INFRA / "automations" / "silent-flow.yaml")["trigger"]["within"] > 3 * every_s


def test_the_rerun_of_failed_images_fills_in_the_form_of_its_flow() -> None:
    (action,) = read(INFRA / "automations" / "retry-failed.yaml")["actions"]
    form = action["parameters"]["form"]
    assert form["run"]["template"] == "{{ event.payload.output }}"
    TypeAdapter(RetryFailedForm).validate_python(form | {"run": "/labels/run"})


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Build(Strict):
    context: str
    dockerfile: str


class Healthcheck(Strict):
    test: Annotated[list[str], Field(min_length=2)]
    interval: Annotated[str, Field(pattern=r"^\d+s$")]
    retries: int


class Dependency(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Service(Strict):
    """What we use of a service, in the types of the Compose specification."""

    image: Annotated[str, Field(pattern=r"^[a-z/]+:[\w.-]+$")]
    build: Build | None = None
    restart: Literal["no", "unless-stopped"] = "no"
    command: str | list[str] | None = None
    environment: dict[str, str] = {}
    ports: list[Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = []
    volumes: list[Annotated[str, Field(pattern=r"^[\w./-]+:/[\w./-]+(:ro)?$")]] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    shm_size: str | None = None


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    content = read(INFRA / "compose" / "docker-compose.yaml")
    assert {key for key in content if not key.startswith("x-")} == {"name", "services", "volumes"}
    services = TypeAdapter(dict[str, Service]).validate_python(content["services"])
    for service in services.values():
        for volume in service.volumes:
            source = volume.partition(":")[0]
            is_path = source.startswith(".")
            assert (
                (INFRA / "compose" / source).is_file() if is_path else source in content["volumes"]
            )
        for name, dependency in service.depends_on.items():
            assert services[name].healthcheck or dependency.condition != "service_healthy"
    return services


def test_compose_runs_postgres_prefect_a_worker_ray_and_a_store(
    services: dict[str, Service],
) -> None:
    assert set(services) == {"postgres", "prefect", "deploy", "worker", "ray-head", "s3"}
    prefect = services["prefect"].environment
    assert "@postgres/" in prefect["PREFECT_API_DATABASE_CONNECTION_URL"]
    for name in ("deploy", "worker"):
        environment = services[name].environment
        assert environment["PREFECT_API_AUTH_STRING"] == prefect["PREFECT_SERVER_API_AUTH_STRING"]


def test_the_ray_cluster_fits_the_deployments_that_name_it() -> None:
    cluster, service, policy = yaml.safe_load_all((INFRA / "kuberay/ray-cluster.yaml").read_text())
    deployments = DEPLOYMENTS.read_text()
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert cluster["spec"]["rayVersion"] == ray.__version__
    assert cluster["spec"]["authOptions"]["mode"] == "token"
    (port,) = service["spec"]["ports"]
    assert f"http://{service['metadata']['name']}:{port['port']}" in deployments
    name = cluster["metadata"]["name"]
    assert service["spec"]["selector"]["ray.io/cluster"] == name
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ray.io/cluster": name}
    head, workers = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    for group in (head, *workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert f"image: {container['image']}" in deployments
        assert "env" not in container, "secrets come from secrets"
        assert {v["name"] for v in pod["volumes"]} == {v["name"] for v in container["volumeMounts"]}


def test_compose_itself_takes_the_file() -> None:
    docker = shutil.which("docker")
    asked = docker and subprocess.run([docker, "compose", "version"], capture_output=True)
    if not asked or asked.returncode:
        pytest.skip("no Docker Compose here: its file is checked by the schema of this test alone")
    path = INFRA / "compose" / "docker-compose.yaml"
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)", path.read_text()), "secret")
    command = [docker, "compose", "--file", path, "config", "--quiet"]
    subprocess.run(command, env=os.environ | secrets, check=True)


def test_every_secret_of_compose_comes_from_the_environment(services: dict[str, Service]) -> None:
    secret = re.compile("PASSWORD|SECRET|ACCESS_KEY|AUTH_STRING|ROOT_USER")
    found = {
        value
        for service in services.values()
        for name, value in service.environment.items()
        if secret.search(name)
    }
    assert found
    assert all(re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value) for value in found)


def test_the_image_copies_what_there_is_and_runs_as_nobody_special() -> None:
    lines = (INFRA / "docker" / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    steps = [shlex.split(line, comments=True) for line in lines if line and line[0] != "#"]
    copied = [source for step in steps if step[0] == "COPY" for source in step[1:-1]]
    assert {"requirements.lock", "possam_core", "pipelines", "flows"} <= set(copied)
    assert all((INFRA.parent / source).exists() for source in copied)
    assert [step[1] for step in steps if step[0] == "USER"] == ["possam"]
    assert steps[0][0] == "FROM"
    assert ":" in steps[0][1], "a version of its own"
