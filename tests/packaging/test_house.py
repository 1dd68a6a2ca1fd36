"""The house: what is packaged, where imports go, what the docs promise."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from xtiger.cli import main
from xtiger.settings import Settings

ROOT = Path(__file__).parents[2]


def test_setup_cfg_lists_exactly_the_packages_there_are() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split())
    found = {
        ".".join(folder.relative_to(ROOT).parts)
        for folder in (ROOT / "xtiger").rglob("*")
        if (folder / "__init__.py").exists()
    }
    assert listed == found | {"xtiger", "xtiger.templates", "xtiger.migrations"}


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    short = {"xero_identity_url", "xero_api_url", "xero_app_url"} | {
        name for name in Settings.__dataclass_fields__ if name.startswith("mail_")
    }
    for name in Settings.__dataclass_fields__:
        wanted = "…_" + name.split("_", 1)[1].upper() if name in short else "XTIGER_" + name.upper()
        assert wanted in text or "XTIGER_" + name.upper() in text, name


def test_every_command_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"^(?:\.venv/bin/)?xtiger (\w+)", text, re.M):
        answer = CliRunner().invoke(main, [name, "--help"])
        assert answer.exit_code == 0, name
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"^make (\w+)", text, re.M):
        assert f"\n{name}:" in makefile, name


def test_importing_everything_starts_nothing() -> None:
    """No thread, no scheduler, no app at import; a host decides when things start."""
    code = (
        "import threading, xtiger.app, xtiger.cli, xtiger.extension, xtiger.sandbox;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bad_setting_ends_in_one_sentence(tmp_path: Path) -> None:
    answer = CliRunner().invoke(
        main,
        ["migrate"],
        env={"XTIGER_SYNC_INTERVAL": "often", "XTIGER_INSTANCE": str(tmp_path)},
    )
    assert answer.exit_code == 1
    assert answer.output == "Error: XTIGER_SYNC_INTERVAL ('often') isn't a whole number.\n"
