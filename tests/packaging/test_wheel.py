"""The wheel in a fresh environment, away from the checkout, does the main job."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.packaging
def test_the_wheel_does_the_main_job_away_from_the_checkout(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("xtiger-*.whl")
    home = tmp_path / "environment"
    venv.create(home)
    pip = [sys.executable, "-m", "pip", "--python", str(home), "--disable-pip-version-check"]
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", "-c", constraints, f"{wheel}[demo]"],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=240,
    )
    answer = subprocess.run(
        [str(home / "bin" / "xtiger"), "demo", "--check", "--records", "60"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    figures = json.loads(answer.stdout.splitlines()[-1])
    assert figures["ticked"] == figures["in_xero"] == 30
    assert figures["duplicates"] == figures["differing_cents"] == figures["out_of_order"] == 0
