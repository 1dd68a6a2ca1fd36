"""Settings: typed, named in full when they are wrong, never showing a secret."""

import pytest

from xtiger.settings import Settings, SettingsFault


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
    settings = Settings.read({"XTIGER_XERO_CLIENT_SECRET": "hush-hush", "XTIGER_KEYS": "k1,k2"})
    assert "hush-hush" not in repr(settings)
    assert "k1" not in repr(settings)


def test_recipients_are_addresses() -> None:
    settings = Settings.read({"XTIGER_REPORT_RECIPIENTS": "a@example.com, b@example.com"})
    assert settings.report_recipients == ("a@example.com", "b@example.com")
    with pytest.raises(SettingsFault, match="isn't an e-mail address"):
        Settings.read({"XTIGER_REPORT_RECIPIENTS": "nobody"})


def test_what_the_environment_fixes_is_locked() -> None:
    assert Settings.read({"XTIGER_XERO_CLIENT_ID": "ABC"}).locked() == {"xero_client_id"}
