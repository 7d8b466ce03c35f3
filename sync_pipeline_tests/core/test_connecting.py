"""What libpq says when it cannot connect, and whose fault it is (scenario S67)."""

from __future__ import annotations

import pytest

from sync_pipeline.core.connecting import is_login, settings_fault

WHERE = 'connection to server at "db" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ('root certificate file "/home/a/.postgresql/root.crt" does not exist', "sslrootcert"),
        (WHERE + "SSL error: certificate verify failed", "sslrootcert"),
        (WHERE + 'server certificate for "a" does not match host name "b"', "host"),
        (WHERE + "server does not support SSL, but SSL was required", "sslmode"),
        ('private key file "k.pem" has group or world access', "sslkey"),
        ('could not read certificate file "c.pem": no such file', "sslcert"),
        ('definition of service "shop" not found', "service"),
        ('invalid sslmode value: "requier"', "parameter"),
        ('invalid connection option "pgbouncer"', "take it out"),
        ('invalid integer value "x" for connection option "keepalives_idle"', "parameter"),
        (WHERE + 'FATAL:  unrecognized configuration parameter "search_pth"', "options"),
        (WHERE + 'FATAL:  invalid value for parameter "TimeZone": "Mars"', "options"),
        (WHERE + "FATAL:  unsupported startup parameter in options: search_path", "pooler"),
        (WHERE + "FATAL:  unsupported startup parameter: options", "pooler"),
        (WHERE + "FATAL:  unsupported startup parameter: extra_float_digits", "out of the address"),
        (WHERE + "channel binding required, but server did not offer it", "channel_binding"),
    ],
)
def test_s67_a_mistake_of_the_settings_has_the_word_that_helps(said: str, word: str) -> None:
    """What the driver says is about a parameter, which the advice names."""
    advice = settings_fault(said)

    assert advice is not None
    assert word in advice
    assert not is_login(advice)


@pytest.mark.parametrize(
    "said",
    [
        'FATAL:  password authentication failed for user "app"',
        "fe_sendauth: no password supplied",
        'FATAL:  database "shop" does not exist',
        'FATAL:  role "app" does not exist',
        'FATAL:  Ident authentication failed for user "app"',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "app", database "x", no encryption',
    ],
)
def test_s67_a_refused_login_is_one(said: str) -> None:
    """User, password and database are to be looked at."""
    advice = settings_fault(WHERE + said)

    assert advice is not None
    assert is_login(advice)


@pytest.mark.parametrize(
    "said",
    [
        WHERE + "Connection refused\n\tIs the server running on that host?",
        'could not translate host name "db" to address: Name or service not known',
        "connection timeout expired",
        WHERE + "FATAL:  the database system is starting up",
        WHERE + "FATAL:  sorry, too many clients already",
        WHERE + "server closed the connection unexpectedly",
        'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory',
    ],
)
def test_s67_a_server_that_is_down_is_no_mistake_of_the_settings(said: str) -> None:
    """Another attempt may help; nobody is sent to correct an address."""
    assert settings_fault(said) is None
