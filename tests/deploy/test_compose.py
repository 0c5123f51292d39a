"""What docker-compose.yml promises and only a reading can check; `make compose-smoke` runs it for real."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
STACK = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("plankwright-")]


def test_every_secret_is_required_and_none_is_given() -> None:
    secrets = re.findall(r"\$\{(\w+PASSWORD)([^}]*)\}", TEXT)
    assert {name for name, _ in secrets} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert all(rest.startswith(":?") for _, rest in secrets)
    example = (ROOT / ".env.example").read_text()
    assert re.findall(r"^(\w+PASSWORD)=(.*)$", example, re.MULTILINE) == [
        ("POSTGRES_PASSWORD", ""),
        ("REDIS_PASSWORD", ""),
    ]


def test_every_variable_is_explained_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    explained = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == explained


def test_only_the_api_is_published_and_by_default_to_this_machine_only() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]
    assert SERVICES["api"]["ports"][0].startswith("${PLANKWRIGHT_BIND:-127.0.0.1}:")


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_privileges_and_hear_signals(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert isinstance(service["command"], list), "a shell would keep SIGTERM for itself"


def test_our_images_do_not_run_as_root() -> None:
    stages = (ROOT / "deploy/Dockerfile").read_text().split("FROM ")
    ends = {stage.split()[2]: stage.rstrip().splitlines()[-1] for stage in stages if " AS " in stage}
    assert ends["api"] == ends["worker"] == "USER plankwright"


def test_migrations_run_once_after_the_database_and_before_all_that_use_it() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in set(OURS) - {"migrate"}:
        needed = SERVICES[name]["depends_on"]
        assert needed["migrate"] == {"condition": "service_completed_successfully"}, name
        if name.startswith("worker"):
            assert needed["redis"] == {"condition": "service_healthy"}


def test_every_service_that_stays_has_a_health_check_and_is_started_again() -> None:
    for name in set(SERVICES) - {"migrate"}:
        assert SERVICES[name]["healthcheck"]["test"], name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_what_must_last_is_in_named_volumes() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert mounted == set(STACK["volumes"]) == {"data", "postgres", "redis"}


def test_only_the_profile_gpu_reserves_one() -> None:
    reserving = {name for name, service in SERVICES.items() if "deploy" in service}
    assert (
        reserving == {name for name, service in SERVICES.items() if "profiles" in service} == {"worker-gpu"}
    )
    gpu = SERVICES["worker-gpu"]
    assert (gpu["profiles"], gpu["environment"]["PLANKWRIGHT_QUEUE"]) == (["gpu"], "gpu")
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
