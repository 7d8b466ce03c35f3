"""Bearer tokens: signed JWTs (RFC 7519), checked by PyJWT with the algorithm of the settings.

Every token that is refused is refused alike, whatever is wrong with it: the caller is told
nothing that helps to forge a better one. The reason goes to the log of ``debug`` alone.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scope import why_not_a_tenant_id
from sync_pipeline.service.principals import Principal, Role
from sync_pipeline.settings import ServiceSettings

LEEWAY_SECONDS: Final = 10
"""How far the clocks of issuer and service may differ."""
MAX_TOKEN_CHARACTERS: Final = 8_192
MAX_SUBJECT_CHARACTERS: Final = 256
MIN_RSA_BITS: Final = 2_048
REQUIRED: Final = ("exp", "iss", "aud", "sub")
SYMMETRIC: Final = "HS256"

_KEY_TYPES: Final[Mapping[str, type]] = {
    "RS256": rsa.RSAPublicKey,
    "ES256": ec.EllipticCurvePublicKey,
    "EdDSA": ed25519.Ed25519PublicKey,
}
_log: Final = logging.getLogger(__name__)


class InvalidTokenError(Exception):
    """The credential is missing or no good; says no more on purpose."""


class TokenVerifier:
    """Checks tokens with the key of the settings, or with the one of several that ``kid`` names."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._algorithm = settings.algorithm
        self._keys = _Keys(settings)
        self._keys.current()

    def verify(self, token: str) -> Principal:
        """Whose token it is.

        Raises:
            InvalidTokenError: it is no valid token, for whatever reason.
        """
        try:
            return self._verify(token)
        except InvalidTokenError:
            raise
        except Exception as error:
            # Whatever a forged token makes a library say, it is refused and nothing else.
            _log.debug("a token was refused: %s", type(error).__name__)
            raise InvalidTokenError from error

    def _verify(self, token: str) -> Principal:
        if not token.isascii() or len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidTokenError
        header = jwt.get_unverified_header(token)
        if header.get("alg") != self._algorithm or "crit" in header or header.get("b64") is False:
            raise InvalidTokenError
        claims = jwt.decode(
            token,
            key=self._key(header.get("kid")),
            algorithms=[self._algorithm],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": list(REQUIRED)},
        )
        return _principal(claims)

    def _key(self, kid: object) -> Any:
        keys = self._keys.current()
        if kid is not None and not isinstance(kid, str):
            raise InvalidTokenError
        if None in keys:
            # One key without a name: a kid is the issuer's own affair.
            return keys[None]
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        if kid not in keys:
            raise InvalidTokenError
        return keys[kid]


class _Keys:
    """Keys by ``kid``; of a file they are read again when it changes."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str | None, Any] = {}
        if settings.algorithm == SYMMETRIC and settings.secret is not None:
            self._keys = {None: settings.secret.get_secret_value()}

    def current(self) -> Mapping[str | None, Any]:
        """The keys that count now.

        A file that cannot be read while the service runs leaves those that it had.

        Raises:
            ConfigurationError: there was never one.
        """
        path = self._settings.key_file
        if path is None:
            if not self._keys:
                name = "secret" if self._settings.algorithm == SYMMETRIC else "key_file"
                raise ConfigurationError(
                    f"service.algorithm is {self._settings.algorithm}, and there is no key for it: "
                    f"set service.{name}"
                )
            return self._keys
        with self._lock:
            try:
                status = path.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    self._keys = _read_keys(path, algorithm=self._settings.algorithm)
                    self._stamp = stamp
            except (OSError, ValueError, TypeError, KeyError, jwt.PyJWTError) as error:
                if not self._keys:
                    raise ConfigurationError(
                        f"service.key_file {path} holds no key for {self._settings.algorithm}: "
                        f"{type(error).__name__}: {error}"
                    ) from error
                _log.warning("service.key_file cannot be read (%s); the keys stay", error)
            return self._keys


def create_token(
    settings: ServiceSettings,
    *,
    subject: str,
    role: str,
    tenant_id: str | None,
    ttl_seconds: float,
) -> str:
    """A token to try the service with.

    Raises:
        ConfigurationError: no key to sign with, no such role, or a tenant that does not go with it.
    """
    if role not in set(Role):
        raise ConfigurationError(f"no role {role!r}; say {', '.join(Role)}")
    if role == Role.TENANT and tenant_id is None:
        raise ConfigurationError("a token of the role tenant needs a tenant: say --tenant ID")
    reason = None if tenant_id is None else why_not_a_tenant_id(tenant_id)
    if reason is not None:
        raise ConfigurationError(f"tenant id {tenant_id!r} cannot be used: {reason}")
    now = int(time.time())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": subject,
        "iat": now,
        "exp": now + int(ttl_seconds),
        "role": role,
        **({} if tenant_id is None else {"tenant_id": tenant_id}),
    }
    headers = _signing_headers(settings)
    return jwt.encode(claims, _signing_key(settings), settings.algorithm, headers=headers)


def _principal(claims: Mapping[str, Any]) -> Principal:
    subject, role, tenant_id = claims["sub"], claims.get("role"), claims.get("tenant_id")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
        raise InvalidTokenError
    if not isinstance(role, str) or role not in {it.value for it in Role}:
        raise InvalidTokenError
    if "tenant_id" in claims and not isinstance(tenant_id, str):
        raise InvalidTokenError
    if tenant_id is not None and why_not_a_tenant_id(tenant_id) is not None:
        raise InvalidTokenError
    if tenant_id is None and role == Role.TENANT:
        raise InvalidTokenError
    return Principal(subject, Role(role), tenant_id)


def _read_keys(path: Path, *, algorithm: str) -> dict[str | None, Any]:
    """Keys of a PEM or JWKS file that fit the algorithm.

    Raises:
        ValueError: there is none.
    """
    content = path.read_bytes()
    if path.suffix.lower() in (".json", ".jwks"):
        listed = json.loads(content)["keys"]
        keys = dict(
            _fitting(key, algorithm=algorithm) for key in listed if _may_verify(key, algorithm)
        )
    elif algorithm == SYMMETRIC:
        raise ValueError("a secret is set as service.secret, or stands in a JWKS file (.json)")
    else:
        keys = {None: _checked(load_pem_public_key(content), algorithm=algorithm)}
    if not keys:
        raise ValueError(f"no key of it is for {algorithm}")
    return keys


def _may_verify(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a key of a JWKS says that it is for this: others of the set are for others."""
    kinds = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP", SYMMETRIC: "oct"}
    return (
        key.get("kty") == kinds[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _fitting(key: Mapping[str, Any], *, algorithm: str) -> tuple[str | None, Any]:
    read = jwt.PyJWK(dict(key), algorithm=algorithm).key
    if algorithm == SYMMETRIC:
        if len(read) < 32:  # noqa: PLR2004 - bytes, as RFC 7518 3.2 asks for HS256
            raise ValueError("a secret has at least 32 bytes")
        return key.get("kid"), read
    return key.get("kid"), _checked(read, algorithm=algorithm)


def _checked(key: Any, *, algorithm: str) -> Any:
    """A key of the right type and strength.

    Raises:
        ValueError: it is of another type, or too weak.
    """
    if not isinstance(key, _KEY_TYPES[algorithm]):
        raise ValueError(f"it is no public key for {algorithm}")  # noqa: TRY004 - of a file
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key has at least {MIN_RSA_BITS} bits, this one {key.key_size}")
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(f"ES256 is the curve P-256, this key is of {key.curve.name}")  # noqa: TRY004
    return key


def _signing_key(settings: ServiceSettings) -> Any:
    if settings.algorithm == SYMMETRIC:
        if settings.secret is None:
            raise ConfigurationError(
                "there is no secret to sign with; set service.secret, for instance "
                'SYNC_PIPELINE__SERVICE__SECRET="$(openssl rand -base64 48)"'
            )
        return settings.secret.get_secret_value()
    if settings.signing_key_file is None:
        raise ConfigurationError(
            f"there is no key to sign {settings.algorithm} with; set service.signing_key_file, or "
            "get tokens from whoever issues them"
        )
    try:
        return load_pem_private_key(settings.signing_key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"service.signing_key_file {settings.signing_key_file} is no private key in PEM "
            f"without a password: {type(error).__name__}"
        ) from error


def _signing_headers(settings: ServiceSettings) -> dict[str, str]:
    """The ``kid`` of the one key of a JWKS that ours belongs to, where it can be told."""
    path = settings.key_file
    if path is None or path.suffix.lower() not in (".json", ".jwks"):
        return {}
    private = _signing_key(settings)
    public = private if isinstance(private, str) else private.public_key()
    for kid, key in _read_keys(path, algorithm=settings.algorithm).items():
        if kid is not None and key == public:
            return {"kid": kid}
    return {}
