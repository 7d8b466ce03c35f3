"""Words in the address of a database: libpq's, and what applications' libraries add to them.

Told apart by their letters alone (``letters_of``), for libraries write ``connectTimeout``,
``connect-timeout`` and ``connect_timeout``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final


def letters_of(word: str) -> str:
    """The word without case, hyphens and underscores."""
    return re.sub(r"[_-]", "", word).lower()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LIBPQ: Final = _words(
    """
    application_name channel_binding client_encoding connect_timeout dbname
    fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives
    keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts
    max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer
    oauth_scope options passfile password port replication require_auth requirepeer
    scram_client_key scram_server_key service servicefile ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey
    sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs
    tcp_user_timeout user
    """
)
"""Words that libpq knows, of version 18."""

RENAMED: Final[Mapping[str, str]] = {
    # By their letters alone: of JDBC, SQLAlchemy, asyncpg, sqlx and others.
    "applicationname": "application_name",
    "channelbinding": "channel_binding",
    "connecttimeout": "connect_timeout",
    "database": "dbname",
    "gssencmode": "gssencmode",
    "loginclienttimeout": "connect_timeout",
    "logintimeout": "connect_timeout",
    "sslca": "sslrootcert",
    "sslmode": "sslmode",
    "timeout": "connect_timeout",
    "username": "user",
} | {letters_of(word): word for word in LIBPQ}

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    "currentschema": "search_path",
    "datestyle": "datestyle",
    "defaulttransactionisolation": "default_transaction_isolation",
    "defaulttransactionreadonly": "default_transaction_read_only",
    "idleintransactionsessiontimeout": "idle_in_transaction_session_timeout",
    "intervalstyle": "intervalstyle",
    "locktimeout": "lock_timeout",
    "schemasearchpath": "search_path",
    "searchpath": "search_path",
    "statementtimeout": "statement_timeout",
    "timezone": "timezone",
    "workmem": "work_mem",
}
"""What a program sets in its session: goes into ``options``."""

WITHOUT_MEANING: Final = frozenset(
    letters_of(word)
    for word in _words(
        """
    adapter autosave assumeMinServerVersion binaryTransfer charset charSet characterEncoding
    checkout_timeout client_encoding command_timeout conn_health_checks conn_max_age
    connection_limit connectionLimit connectionTimeoutMillis databaseMetadataCacheFields
    databaseMetadataCacheFieldsMiB default_query_exec_mode defaultRowFetchSize
    description_cache_capacity disableColumnSanitiser driver encoding engine idle_timeout
    idleTimeoutMillis logUnclosedConnections loggerLevel max max_connections max_conns
    max_lifetime max_overflow maxPoolSize min min_messages minPoolSize pgbouncer pool
    pool_max_conn_idle_time pool_max_conn_lifetime pool_max_conn_lifetime_jitter pool_max_conns
    pool_min_conns
    pool_min_idle_conns pool_health_check_period pool_mode pool_pre_ping pool_recycle pool_size
    pool_timeout pool_use_lifo preferQueryMode prepareThreshold prepared_statement_cache_size
    prepared_statements preparedStatementCacheQueries preparedStatementCacheSizeMiB readOnly
    reaping_frequency reconnect reWriteBatchedInserts serverVersion single_use_connections
    socket_timeout socketTimeout statement_cache_capacity statement_cache_size statement_limit
    stringtype supa trace_queries uselibpqcompat workaround
    """
    )
)
"""About an application's own pool or driver."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "load_balance_hosts": ("disable", "random"),
    "target_session_attrs": (
        "any", "read-write", "read-only", "primary", "standby", "prefer-standby",
    ),
}  # fmt: skip
NUMBERS: Final = frozenset(
    {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"}
    | {"tcp_user_timeout"}
)

SPELLINGS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    # JDBC's servers, and what Node and Prisma call a connection whose certificate is not checked.
    ("targetservertype", "any"): ("target_session_attrs", "any"),
    ("targetservertype", "master"): ("target_session_attrs", "primary"),
    ("targetservertype", "primary"): ("target_session_attrs", "primary"),
    ("targetservertype", "preferprimary"): ("target_session_attrs", "any"),
    ("targetservertype", "secondary"): ("target_session_attrs", "standby"),
    ("targetservertype", "slave"): ("target_session_attrs", "standby"),
    ("targetservertype", "prefersecondary"): ("target_session_attrs", "prefer-standby"),
    ("targetservertype", "preferslave"): ("target_session_attrs", "prefer-standby"),
    ("loadbalancehosts", "true"): ("load_balance_hosts", "random"),
    ("loadbalancehosts", "false"): ("load_balance_hosts", "disable"),
    ("tcpkeepalive", "true"): ("keepalives", "1"),
    ("tcpkeepalive", "false"): ("keepalives", "0"),
    ("ssl", "true"): ("sslmode", "require"),
    ("ssl", "1"): ("sslmode", "require"),
    ("ssl", "false"): ("sslmode", "disable"),
    ("ssl", "0"): ("sslmode", "disable"),
    ("sslmode", "no-verify"): ("sslmode", "require"),
    ("sslmode", "noverify"): ("sslmode", "require"),
    ("sslmode", "verifyca"): ("sslmode", "verify-ca"),
    ("sslmode", "verifyfull"): ("sslmode", "verify-full"),
    ("sslaccept", "strict"): ("sslmode", "verify-full"),
    ("sslaccept", "accept_invalid_certs"): ("sslmode", "require"),
    ("sslfactory", "org.postgresql.ssl.nonvalidatingfactory"): ("sslmode", "require"),
}

ADVICE: Final[Mapping[str, str]] = {
    "sslidentity": "make two files of it, with openssl pkcs12, and name them as sslcert and sslkey",
    "sslfactory": "name the certificate authority's file as sslrootcert, with sslmode=verify-full",
    "sslaccept": "write sslmode=verify-full, or sslmode=require for a certificate nobody checks",
    "ssl": "write sslmode=require or sslmode=verify-full",
    "targetservertype": "write target_session_attrs=any, primary, standby or prefer-standby",
    "loadbalancehosts": "write load_balance_hosts=random or disable",
    "tcpkeepalive": "write keepalives=1 or 0",
}
