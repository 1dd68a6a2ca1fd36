"""Settings: typed, named in full when they are wrong, never showing a secret."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from xtiger.settings import Settings, SettingsFault, instance_folder


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(SettingsFault) as fault:
        Settings.read(
            {
                "XTIGER_SYNC_INTERVAL": "often",
                "XTIGER_PUBLIC_URL": "crm.example.com",
                "XTIGER_XERO_API_URL": "http://api.example.com",
                "XTIGER_COLOUR": "blue",
            }
        )
    said = str(fault.value)
    assert "XTIGER_SYNC_INTERVAL ('often') isn't a whole number." in said
    assert "XTIGER_PUBLIC_URL ('crm.example.com') isn't a web address" in said
    assert "XTIGER_XERO_API_URL ('http://api.example.com') must begin with https://" in said
    assert "XTIGER_COLOUR isn't a setting of XTiger." in said


def test_the_environment_wins_over_the_host() -> None:
    settings = Settings.read({"XTIGER_SYNC_INTERVAL": "60"}, {"XTIGER_SYNC_INTERVAL": 900})
    assert settings.sync_interval == 60
    assert Settings.read({}, {"XTIGER_SYNC_INTERVAL": 900}).sync_interval == 900


def test_plain_http_is_for_this_machine_only() -> None:
    assert Settings.read({"XTIGER_XERO_API_URL": "http://localhost:5051"}).xero_api_url
    with pytest.raises(SettingsFault):
        Settings.read({"XTIGER_XERO_API_URL": "http://192.168.1.4:5051"})


def test_a_secret_is_neither_shown_nor_quoted_in_a_fault() -> None:
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    settings = Settings.read(
        {"XTIGER_XERO_CLIENT_SECRET": "hush-hush", "XTIGER_KEYS": ",".join(keys)}
    )
    assert settings.keys == tuple(keys)
    for secret in ("hush-hush", *keys):
        assert secret not in repr(settings)


def test_a_key_that_isnt_one_is_named_by_its_place_alone() -> None:
    good = Fernet.generate_key().decode()
    with pytest.raises(SettingsFault) as fault:
        Settings.read({"XTIGER_KEYS": f"{good},abc"})
    assert str(fault.value) == "XTIGER_KEYS holds what isn't a Fernet key (number 2)."


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "isn't a database's address; write it like postgresql+psycopg://"),
        ("postgresql+psycopg://ana:hush@host:port/data", "isn't a database's address"),
        ("mysql://ana:hush@host/data", "is neither SQLite nor PostgreSQL."),
        ("postgresql+pg8000://ana:hush@host/data", "needs a driver that isn't installed; "),
        ("postgresql+carrier://ana:hush@host/data", "needs a driver that isn't installed; "),
    ],
)
def test_a_database_that_cant_be_one_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingsFault) as fault:
        Settings.read({"XTIGER_DATABASE_URL": url})
    assert str(fault.value).startswith(f"XTIGER_DATABASE_URL {said}")
    assert "hush" not in str(fault.value)


def test_databases_that_can_be_are_taken() -> None:
    for url in ("sqlite:///x.sqlite", "postgresql+psycopg://ana:hush@host:5432/data"):
        assert Settings.read({"XTIGER_DATABASE_URL": url}).database_url == url


def test_an_instance_folder_that_cant_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsFault, match=r"^The instance folder .* can't be made: Not a direc"):
        instance_folder(tmp_path / "file" / "instance")


def test_recipients_are_addresses() -> None:
    settings = Settings.read({"XTIGER_REPORT_RECIPIENTS": "a@example.com, b@example.com"})
    assert settings.report_recipients == ("a@example.com", "b@example.com")
    with pytest.raises(SettingsFault, match="isn't an e-mail address"):
        Settings.read({"XTIGER_REPORT_RECIPIENTS": "nobody"})


def test_what_the_environment_fixes_is_locked() -> None:
    assert Settings.read({"XTIGER_XERO_CLIENT_ID": "ABC"}).locked() == {"xero_client_id"}


def test_the_kind_of_app_and_its_scopes_are_one_of_two_words() -> None:
    settings = Settings.read({"XTIGER_XERO_APP_KIND": "Custom", "XTIGER_XERO_SCOPES": " broad "})
    assert (settings.xero_app_kind, settings.xero_scopes) == ("custom", "broad")
    assert Settings.read({}).xero_scopes == "granular"
    assert Settings.read({}).locked() == frozenset()
    with pytest.raises(SettingsFault) as fault:
        Settings.read({"XTIGER_XERO_SCOPES": "all", "XTIGER_XERO_APP_KIND": "mobile"})
    assert "XTIGER_XERO_SCOPES ('all') is neither granular nor broad." in str(fault.value)
    assert "XTIGER_XERO_APP_KIND ('mobile') is neither web nor custom." in str(fault.value)


def test_the_key_of_the_webhooks_is_locked_and_never_shown() -> None:
    settings = Settings.read({"XTIGER_XERO_WEBHOOK_KEY": "hush-hush"})
    assert settings.locked() == {"xero_webhook_key"}
    assert "hush-hush" not in repr(settings)
