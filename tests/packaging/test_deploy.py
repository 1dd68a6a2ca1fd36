"""What is deployed: secrets stay out of images, repositories and services that don't need them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from xtiger.app import create_app
from xtiger.settings import PREFIX, Settings, SettingsFault

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def names(file: str) -> set[str]:
    """The variables that an example of an environment file names, commented out or not."""
    lines = (DEPLOY / file).read_text().splitlines()
    return {
        name.lstrip("# ")
        for name, sign, _ in (line.partition("=") for line in lines)
        if sign and name.lstrip("# ").replace("_", "").isupper()
    }


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def test_the_image_is_built_from_nothing_but_what_the_wheel_needs() -> None:
    """All is left out first: a new file with secrets needs no new line."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken = {rule[1:] for rule in rules if rule.startswith("!")}
    assert taken == {
        "LICENSE",
        "README.md",
        "constraints.txt",
        "migrations",
        "pyproject.toml",
        "setup.cfg",
        "templates",
        "xtiger",
    }
    assert {"**/*.env", "**/instance", "**/*.sqlite*"} < set(rules[len(taken) + 1 :])


@pytest.mark.parametrize("file", ["deploy/xtiger.env", "deploy/database.env", "instance/keys"])
def test_files_with_secrets_are_never_committed(file: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this isn't a clone")
    told = subprocess.run(["git", "check-ignore", "-q", file], cwd=ROOT, check=False)
    assert told.returncode == 0


def test_postgresql_is_given_its_own_variables_alone() -> None:
    services = compose()["services"]
    database = services["database"]
    assert database["env_file"] == "database.env"
    assert names("database.env.example") == {"POSTGRES_PASSWORD"}
    assert all(name.startswith("POSTGRES_") for name in database["environment"])
    others = [each for name, each in services.items() if name != "database"]
    assert {each["env_file"] for each in others} == {"xtiger.env"}


def test_the_example_names_all_that_a_fleet_needs_and_nothing_unknown(tmp_path: Path) -> None:
    given = names("xtiger.env.example")
    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(
        Settings.__dataclass_fields__
    )
    with pytest.raises(SettingsFault) as refused:
        create_app(instance=tmp_path, environment={"XTIGER_FLEET": "yes"})
    needed = set(Settings().lacking())
    assert all(name in str(refused.value) for name in needed)
    assert needed < given
    told = (DEPLOY / "compose.yaml").read_text()
    assert [name for name in needed if name not in told] == []
