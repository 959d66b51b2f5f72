"""What deploy/ says is what there is: settings, commands and their options, files, and one writer a table.

No image is built here: there is no Docker.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import typer
import yaml

from churn_assets import postgres
from churn_assets.automation.history import stored_history
from churn_assets.cli import app
from churn_assets.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
VALUES = yaml.safe_load((DEPLOY / "values.yaml").read_text())
ENV_EXAMPLE = (DEPLOY / ".env.example").read_text()
OURS = [
    name for name, service in COMPOSE["services"].items() if service["image"].endswith(("churn}", "-spark"))
]


def dockerfile() -> Iterator[tuple[str, str]]:
    """Each instruction with its arguments, in order."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            instruction, _, arguments = line.partition(" ")
            yield instruction, arguments.strip()


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the stage that it goes on from before its own."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, arguments in dockerfile():
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            found[name] = list(found.get(base, []))
        if name:
            found[name].append((instruction, arguments))
    return found


def command_of(program: str) -> Any:
    """The command line of a program of this environment."""
    if program == "churn":
        return typer.main.get_command(app)
    if program == "dagster":
        from dagster._cli import create_dagster_cli

        return create_dagster_cli()
    if program == "dagster-webserver":
        from dagster_webserver.cli import dagster_webserver

        return dagster_webserver
    if program == "dagster-daemon":
        from dagster._daemon.cli import create_dagster_daemon_cli

        return create_dagster_daemon_cli()
    if program == "mlflow":
        from mlflow.cli import cli

        return cli
    raise AssertionError(f"{program} is not known here")


def parse(program: str, arguments: list[str]) -> None:
    """Parse a command's arguments as the program would; it is not run.

    Raises:
        click.UsageError: there is no such command or option.
    """
    command = command_of(program)
    # Not by its class: Typer has a click of its own.
    while (commands := getattr(command, "commands", None)) is not None:
        name, *arguments = arguments
        if name not in commands:
            raise click.UsageError(f"{program} has no {name}")
        command = commands[name]
    command.make_context(program, list(arguments))


def test_the_compose_file_is_one() -> None:
    schema = json.loads(
        (resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text()
    )

    jsonschema.validate(COMPOSE, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**COMPOSE, "services": {"a": {"comand": "b"}}}, schema)


def test_every_variable_of_ours_is_a_setting() -> None:
    texts = {path.name: path.read_text() for path in DEPLOY.iterdir()}
    named = {(file, name) for file, text in texts.items() for name in re.findall(r"\bCHURN_[A-Z_]+", text)}

    assert len(named) > 10
    # What Docker Compose itself reads.
    assert {name for _, name in named} - Settings.variables().keys() == {"CHURN_IMAGE"}


def test_what_compose_asks_for_is_what_the_example_has() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    optional = set(re.findall(r"\$\{([A-Z_]+):-", text))

    assert set(re.findall(r"^([A-Z_]+)=", ENV_EXAMPLE, re.MULTILINE)) == required
    assert set(re.findall(r"^#([A-Z_]+)=", ENV_EXAMPLE, re.MULTILINE)) == optional


@pytest.mark.parametrize("service", OURS)
def test_each_service_runs_a_command_that_there_is(service: str) -> None:
    program, *arguments = COMPOSE["services"][service]["command"]

    if program == "spark-class":
        assert arguments[0] in (
            "org.apache.spark.deploy.master.Master",
            "org.apache.spark.deploy.worker.Worker",
        )
        return
    # Where the image has it, to which the Dockerfile copies it.
    in_image = [
        argument.replace("/opt/churn/workspace.yaml", str(DEPLOY / "workspace.yaml"))
        for argument in arguments
    ]
    assert ("COPY", "deploy/workspace.yaml /opt/churn/workspace.yaml") in dockerfile()
    parse(program, in_image)


@pytest.mark.parametrize(
    "line", ["churn sreve", "dagster api grpc --prot 1", "dagster-daemon run --moduel a"]
)
def test_a_command_or_option_that_there_is_not_would_be_noticed(line: str) -> None:
    program, *arguments = line.split()

    with pytest.raises(click.UsageError):
        parse(program, arguments)


def test_each_check_of_health_asks_a_program_that_there_is() -> None:
    checks = [service.get("healthcheck", {}).get("test") for service in COMPOSE["services"].values()]
    for _, program, *arguments in filter(None, checks):
        if program == "python":
            compile(arguments[1], "healthcheck", "exec")
        elif program.startswith("dagster"):
            parse(program, arguments)


def test_nobody_is_root_and_every_port_is_this_hosts() -> None:
    for name in ("churn", "spark", "default"):
        users = [arguments for instruction, arguments in stages()[name] if instruction == "USER"]
        assert users[-1] == "10001", name
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_has_a_pinned_python_and_what_the_lock_has_hashes_of() -> None:
    instructions = list(dockerfile())

    assert ("ARG", "PYTHON=3.11.14-slim-bookworm") in instructions
    bases = [
        arguments.partition(" AS ")[0] for instruction, arguments in instructions if instruction == "FROM"
    ]
    assert all(base == "python:${PYTHON}" or base in stages() for base in bases)
    installed = [arguments for instruction, arguments in instructions if "pip install" in arguments]
    assert any("--require-hashes" in line and "-r requirements.lock" in line for line in installed)
    assert all("--require-hashes" in line or "--no-deps" in line for line in installed)


def test_the_image_copies_files_that_there_are() -> None:
    copied = [shlex.split(arguments) for instruction, arguments in dockerfile() if instruction == "COPY"]
    sources = [one for names in copied if not names[0].startswith("--from") for one in names[:-1]]

    assert "churn_assets" in sources
    assert [one for one in sources if not (ROOT / one).exists()] == []


def test_the_images_default_command_is_asked_how_it_is() -> None:
    (checked,) = [arguments for instruction, arguments in dockerfile() if instruction == "HEALTHCHECK"]
    (default,) = [arguments for instruction, arguments in dockerfile() if instruction == "CMD"]

    program, *arguments = json.loads(default)
    parse(program, arguments)
    compile(json.loads(checked.partition("CMD ")[2])[2], "healthcheck", "exec")


def test_the_webserver_looks_for_the_graph_where_it_is() -> None:
    (location,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    server, command = location["grpc_server"], COMPOSE["services"]["code"]["command"]

    assert server["host"] in COMPOSE["services"]
    assert command[command.index("--port") + 1] == str(server["port"])
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    parse("dagster", ["api", "grpc", "--port", "4000", *deployment["dagsterApiGrpcArgs"]])


@pytest.mark.parametrize("place", [COMPOSE["x-churn"]["environment"]["CHURN_DATABASE_URL"]])
def test_the_address_of_the_database_can_be_one(place: str) -> None:
    url = re.sub(r"\$\{[^}]*\}", "secret", place)
    theirs = COMPOSE["services"]["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]

    assert postgres.problem(url) is None
    ours = postgres.Postgres(url, postgres.MLFLOW_SCHEMA).for_sqlalchemy()
    assert re.sub(r"\$\{[^}]*\}", "secret", theirs) == ours


def test_helm_lets_one_writer_at_a_time_into_a_table_too() -> None:
    ours = yaml.safe_load(stored_history.packaged_configuration())["concurrency"]
    camel: Callable[[Any], Any] = lambda value: (  # noqa: E731 - it calls itself
        {re.sub(r"_(.)", lambda found: found[1].upper(), key): camel(one) for key, one in value.items()}
        if isinstance(value, dict)
        else value
    )

    assert VALUES["concurrency"] == camel(ours)
