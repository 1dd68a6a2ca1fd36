"""Starting: what stands in its way is one sentence, and two starts at once don't disturb."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet
from flask_security import verify_password
from sqlalchemy import create_engine, func, select

from tests.conftest import free_port
from xtiger import app as standalone
from xtiger import cli
from xtiger.accounts import User
from xtiger.cli import main, plainly
from xtiger.demo import show
from xtiger.demo.browser import NotThere
from xtiger.store import schema
from xtiger.store.crypto import kept
from xtiger.store.schema import Database, is_empty, migrate


def start(folder: Path, *command: str, **environment: str) -> Result:
    return CliRunner().invoke(main, command, env={"XTIGER_INSTANCE": str(folder), **environment})


def one_sentence(result: Result) -> str:
    """What it said, which must be one line and no traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output.removeprefix("Error: ").rstrip()


@pytest.mark.parametrize("command", ["migrate", "serve"])
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_postgresql_that_is_away(tmp_path: Path, command: str, host: str) -> None:
    url = f"postgresql+psycopg://ana:hush@{host}:{free_port()}/data"
    said = one_sentence(start(tmp_path, command, XTIGER_DATABASE_URL=url))
    assert said.startswith("The database doesn't answer (")
    assert said.endswith("Once it answers, run this again.")
    assert "hush" not in said


@pytest.mark.parametrize("name", ["XTIGER_DATABASE_URL", "XTIGER_KEYS"])
def test_a_value_that_cant_be_one(tmp_path: Path, name: str) -> None:
    said = one_sentence(start(tmp_path, "migrate", **{name: "nonsense"}))
    assert said.startswith(f"{name} ")
    assert "nonsense" not in said


def test_a_database_file_that_cant_be_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'x.sqlite'}"
    said = one_sentence(start(tmp_path / "instance", "migrate", XTIGER_DATABASE_URL=url))
    assert said == "The database can't be used (unable to open database file)."


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text("a letter, not a database\n" * 100)
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    said = one_sentence(start(tmp_path / "instance", "migrate", XTIGER_DATABASE_URL=url))
    assert said == "The database can't be used (file is not a database)."


def test_an_instance_folder_that_cant_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = one_sentence(start(tmp_path / "file" / "instance", "migrate"))
    assert "can't be made: Not a directory. Name another in XTIGER_INSTANCE." in said


@pytest.mark.parametrize(
    "command",
    ["worker", "sync --due", "queue", "logs", "report --period daily --print", "doctor"],
)
def test_a_mistyped_instance_folder_isnt_made(tmp_path: Path, command: str) -> None:
    for folder in (tmp_path / "instanec", tmp_path):
        said = one_sentence(start(folder, *command.split()))
        assert said == (
            f"No instance of XTiger is in {folder}. Name its folder in XTIGER_INSTANCE; a new one "
            "is made by: xtiger migrate"
        )
        assert not list(tmp_path.iterdir())


def test_a_machine_that_is_given_the_keys_needs_no_folder_beforehand(tmp_path: Path) -> None:
    url, keys = f"sqlite:///{tmp_path / 'x.sqlite'}", Fernet.generate_key().decode()
    migrate(Database(url))
    given = start(tmp_path / "new", "queue", XTIGER_DATABASE_URL=url, XTIGER_KEYS=keys)
    assert given.exit_code == 0, given.output


def test_a_key_file_that_holds_no_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("abc\n")
    said = one_sentence(start(tmp_path, "migrate"))
    assert said.startswith(f"{tmp_path / 'keys'} holds what isn't a Fernet key.")


def test_a_part_of_the_demo_that_doesnt_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_given: object, **_more: object) -> None:
        raise requests.ReadTimeout(f"http://localhost/?secret={tmp_path}")

    monkeypatch.setattr(show, "run", lost)
    said = one_sentence(start(tmp_path, "demo", "--folder", str(tmp_path / "demo")))
    assert said == (
        "A part of the demo didn't answer (ReadTimeout). Run it again; if it stays so, --fresh "
        "begins with new books."
    )


def test_only_named_errors_are_sentences() -> None:
    @plainly
    def ours() -> None:
        raise KeyError("foo")

    @plainly
    def theirs() -> None:
        raise NotThere("There is no button “Sync” on /.")

    with pytest.raises(KeyError):
        ours()
    with pytest.raises(cli.click.ClickException, match="There is no button"):
        theirs()


def test_a_secret_is_never_seen_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another start looks while ours has made its file and not yet filled it."""
    file = tmp_path / "secret_key"
    seen: list[str] = []

    def slow(_length: int) -> str:
        assert not file.exists()
        seen.append(kept(file, lambda: "the other's"))
        return "ours"

    monkeypatch.setattr(standalone.secrets, "token_hex", slow)
    assert standalone._secret(file) == "the other's" == seen[0]
    assert [one.name for one in tmp_path.iterdir()] == ["secret_key"]


_START = (
    "import sys; from xtiger.app import create_app; app = create_app(instance=sys.argv[1]);"
    "print(app.config['SECRET_KEY'], app.config['SECURITY_PASSWORD_SALT'])"
)


def test_processes_that_start_together_share_their_secrets(tmp_path: Path) -> None:
    environment = {**os.environ, "XTIGER_KEYS": Fernet.generate_key().decode()}
    command = [sys.executable, "-c", _START, str(tmp_path / "instance")]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    said = {one.communicate(timeout=60)[0].strip() for one in started}
    assert [one.returncode for one in started] == [0] * 4
    [both] = said
    assert [len(each) for each in both.split()] == [64, 64]


#: What the machines of a fleet share.
SHARED = {
    "XTIGER_KEYS": Fernet.generate_key().decode(),
    "XTIGER_SECRET_KEY": "sign",
    "XTIGER_PASSWORD_SALT": "salt",
}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((), "XTIGER_KEYS, XTIGER_SECRET_KEY and XTIGER_PASSWORD_SALT"),
        (("XTIGER_KEYS",), "XTIGER_SECRET_KEY and XTIGER_PASSWORD_SALT"),
        (("XTIGER_KEYS", "XTIGER_SECRET_KEY"), "XTIGER_PASSWORD_SALT"),
    ],
)
@pytest.mark.parametrize("command", [("serve",), ("worker", "--fleet"), ("migrate",)])
def test_a_fleet_is_told_which_of_its_common_secrets_it_lacks(
    tmp_path: Path, postgres_url: str, command: tuple[str, ...], given: tuple[str, ...], named: str
) -> None:
    environment = {name: SHARED[name] for name in given}
    said = one_sentence(
        start(
            tmp_path / "instance",
            *command,
            XTIGER_FLEET="yes",
            XTIGER_DATABASE_URL=postgres_url,
            **environment,
        )
    )
    assert said.startswith(f"XTIGER_FLEET is set. Set also {named}, to the same on all machines:")
    assert not (tmp_path / "instance").exists(), "and none of its own was made"


def test_a_worker_of_a_fleet_makes_no_keys_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    said = one_sentence(start(tmp_path, "worker", "--fleet", XTIGER_DATABASE_URL=postgres_url))
    assert said.startswith("A worker of a fleet needs the XTIGER_KEYS of the other machines")


def test_machines_with_folders_of_their_own_take_each_others_passwords(
    tmp_path: Path, postgres_url: str
) -> None:
    environment = SHARED | {"XTIGER_DATABASE_URL": postgres_url, "XTIGER_FLEET": "yes"}
    told = start(tmp_path / "one", "migrate", **environment)
    assert told.exit_code == 0, told.output
    typed = ("--role", "administrator", "--password", "correct horse battery")
    told = start(tmp_path / "one", "user", "ana@example.com", *typed, **environment)
    assert told.exit_code == 0, told.output
    other = standalone.create_app(instance=tmp_path / "two", environment=environment)
    with other.app_context():
        ana = other.extensions["sqlalchemy"].session.scalars(select(User)).one()
        assert verify_password("correct horse battery", ana.password)
        other.extensions["sqlalchemy"].engine.dispose()
    assert list((tmp_path / "two").iterdir()) == [], "it keeps no secret of its own"


def test_who_migrates_second_waits_for_the_first(postgres_url: str) -> None:
    database = Database(postgres_url)
    other = create_engine(postgres_url)
    second = threading.Thread(target=migrate, args=(database,))
    with other.begin() as first:
        first.execute(select(func.pg_advisory_xact_lock(schema.MIGRATING)))
        second.start()
        second.join(1)
        assert second.is_alive()
        assert is_empty(database)
    second.join(30)
    assert not is_empty(database)
    other.dispose()
    database.close()


def test_processes_that_migrate_together_all_succeed(tmp_path: Path, database_url: str) -> None:
    environment = {
        **os.environ,
        "XTIGER_DATABASE_URL": database_url,
        "XTIGER_INSTANCE": str(tmp_path / "instance"),
    }
    command = [sys.executable, "-m", "xtiger", "migrate"]
    started = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        for _ in range(3)
    ]
    said = [one.communicate(timeout=60)[0] for one in started]
    assert said == ["The database is up to date.\n"] * 3


def test_the_server_takes_no_larger_body_than_the_pages_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}

    def refuse(_app: object, **options: object) -> None:
        seen.update(options)
        raise OSError(98, "Address already in use")

    monkeypatch.setattr("waitress.server.create_server", refuse)
    one_sentence(start(tmp_path, "serve"))
    assert seen["max_request_body_size"] == 4 * 1024 * 1024
