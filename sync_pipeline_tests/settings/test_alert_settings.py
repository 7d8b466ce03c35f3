"""Alerts that cannot be sent are found out when the settings load."""

from __future__ import annotations

import re

import pytest

from sync_pipeline.core.errors import SettingsError
from sync_pipeline.settings import load_settings
from sync_pipeline_tests.settings.conftest import WriteYaml


@pytest.mark.parametrize(
    ("alerts", "message"),
    [
        pytest.param(
            "webhook_url: ftp://x/y", "is not an http:// or https:// URL", id="another scheme"
        ),
        pytest.param(
            "webhook_url: http://example.org/x", "would cross the network", id="unencrypted"
        ),
        pytest.param("webhook_url: https://a@b/x", "cannot be posted to", id="a user"),
        pytest.param("smtp_url: mail.example.org", "is not the URL of a mail server", id="a host"),
        pytest.param("smtp_url: smtp://me@mail", "user without a password", id="no password"),
        pytest.param("smtp_url: smtp://mail/x", "more than user, password", id="a path"),
        pytest.param("smtp_url: smtp://mail", "name who gets the mails", id="nobody to mail"),
        pytest.param("email_to: [a@b]", "has no mail server", id="no server"),
        pytest.param(
            "smtp_url: smtp://mail\n  email_to: ['a@b\\nBcc: c@d']",
            "is no mail address",
            id="headers",
        ),
    ],
)
def test_alerts_that_cannot_be_sent_are_refused(
    write_yaml: WriteYaml, alerts: str, message: str
) -> None:
    config = write_yaml(f"alerts:\n  {alerts}\n")

    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(config=config, env={})


def test_who_gets_mails_can_be_set_in_the_environment() -> None:
    settings = load_settings(
        env={
            "SYNC_PIPELINE__ALERTS__SMTP_URL": "smtps://me:pw@mail.example.org",
            "SYNC_PIPELINE__ALERTS__EMAIL_TO": '["ops@example.org"]',
        }
    )

    assert settings.alerts.email_to == ("ops@example.org",)
