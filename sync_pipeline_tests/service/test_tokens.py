"""Who gets in: forged tokens are refused alike, and a claim can only be what it looks like."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import SecretStr, ValidationError

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.service.principals import Role
from sync_pipeline.service.tokens import InvalidTokenError, TokenVerifier, create_token
from sync_pipeline.settings import ServiceSettings
from sync_pipeline_tests.service.served import SECRET, Served, claims, signed

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> bytes:
    return bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: dict[str, Any], payload: Any, signature: bytes = b"x") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64url(part) for part in parts)


def tampered(token: str) -> str:
    head, body, signature = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed["tenant_id"] = "globex"
    return f"{head}.{base64url(json.dumps(changed).encode())}.{signature}"


def forged_tokens() -> dict[str, str]:
    """By what is wrong with them. Made when a test asks: a suite outlives what they say of time."""
    now = int(time.time())
    good = signed(claims())
    return {
        "empty": "",
        "no token": "nonsense",
        "two parts": ".".join(good.split(".")[:2]),
        "four parts": good + ".x",
        "not ascii": good + "é",
        "too long": signed(claims(padding="x" * 9_000)),
        "alg none": raw({"alg": "none", "typ": "JWT"}, claims(), b""),
        "alg None": raw({"alg": "None"}, claims(), b""),
        "alg nOnE, signed": raw({"alg": "nOnE"}, claims()),
        "no alg": raw({"typ": "JWT"}, claims()),
        "alg a list": raw({"alg": ["HS256"]}, claims()),
        "HS512": signed(claims(), key=SECRET * 2, algorithm="HS512"),
        "HS384": signed(claims(), key=SECRET * 2, algorithm="HS384"),
        "RS256 with a key of their own": signed(claims(), key=RSA, algorithm="RS256"),
        "another secret": signed(claims(), key="x" * 40),
        "empty secret": raw({"alg": "HS256"}, claims(), b""),
        "tampered": tampered(good),
        "signature cut": good[:-4],
        "signature of another token": ".".join(
            [*good.split(".")[:2], signed(claims(sub="x")).split(".")[2]]
        ),
        "crit": signed(claims(), headers={"crit": ["exp"], "exp": 1}),
        "kid a number": raw({"alg": "HS256", "kid": 7}, claims()),
        "jwk in the header": raw({"alg": "HS256", "jwk": {"kty": "oct", "k": "eA"}}, claims()),
        "jku in the header, unsigned": raw({"alg": "HS256", "jku": "http://127.0.0.1/k"}, claims()),
        "expired": signed(claims(exp=now - 60)),
        "no exp": signed(claims(exp=...)),
        "exp a text": raw({"alg": "HS256"}, claims(exp="soon")),
        "not yet": signed(claims(nbf=now + 600)),
        "issued in the future": signed(claims(iat=now + 600)),
        "no aud": signed(claims(aud=...)),
        "another aud": signed(claims(aud="shop")),
        "aud nothing": signed(claims(aud=[])),
        "no iss": signed(claims(iss=...)),
        "another iss": signed(claims(iss="shop")),
        "no sub": signed(claims(sub=...)),
        "sub empty": signed(claims(sub="")),
        "no role": signed(claims(role=...)),
        "role unknown": signed(claims(role="root")),
        "role in capitals": signed(claims(role="ADMIN")),
        "role a list": signed(claims(role=["admin"])),
        "role null": signed(claims(role=None)),
        "tenant without a tenant": signed(claims(tenant_id=...)),
        "tenant null": signed(claims(tenant_id=None)),
        "tenant a list": signed(claims(tenant_id=["acme", "globex"])),
        "tenant an object": signed(claims(tenant_id={"any": ["acme"]})),
        "tenant a number": signed(claims(tenant_id=1)),
        "tenant true": signed(claims(tenant_id=True)),
        "tenant empty": signed(claims(tenant_id="")),
        "tenant with a blank": signed(claims(tenant_id="acme ")),
        "tenant global": signed(claims(tenant_id="global")),
        "tenant Global": signed(claims(tenant_id="GLOBAL")),
        "tenant with a zero byte": signed(claims(tenant_id="acme\0")),
        "tenant with an invisible sign": signed(claims(tenant_id="ac\u200bme")),
        "tenant in another normal form": signed(claims(tenant_id="cafe\u0301")),
        "claims a list": raw({"alg": "HS256"}, ["acme"]),
    }


def test_a_good_token_gets_in(served: Served) -> None:
    answer = served.client.post(
        "/api/search", json={"query": "x"}, headers={"Authorization": f"Bearer {signed(claims())}"}
    )

    assert answer.status_code == 200


@pytest.fixture(scope="module")
def refusals() -> Iterator[set[str]]:
    """What refused callers were told, but for the request's id: one thing."""
    bodies: set[str] = set()
    yield bodies
    assert len(bodies) <= 1


@pytest.mark.parametrize("name", forged_tokens())
def test_every_forged_token_gets_the_same_answer(
    served: Served, name: str, refusals: set[str]
) -> None:
    headers = {"Authorization": f"Bearer {forged_tokens()[name]}".encode()}
    answer = served.client.post("/api/search", json={"query": "x"}, headers=headers)  # type: ignore[arg-type]

    body = answer.json()
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    del body["request_id"]
    refusals.add(json.dumps(body))
    assert body == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "a valid bearer token is needed",
    }


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Token {}"])
def test_other_credentials_are_refused_alike(served: Served, header: str) -> None:
    headers = {"Authorization": header.format(signed(claims()))} if header else {}

    answer = served.client.post("/api/search", json={"query": "x"}, headers=headers)

    assert (answer.status_code, answer.json()["detail"]) == (401, "a valid bearer token is needed")


# --- keys -------------------------------------------------------------------------------


def settings(**values: Any) -> ServiceSettings:
    return ServiceSettings(**values)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def private_pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def jwks(**keys: Any) -> bytes:
    listed = []
    for kid, key in keys.items():
        algorithm = {"RSA": "RS256", "EC": "ES256", "Ed": "EdDSA"}[
            type(key).__name__[:3].rstrip("P2")
        ]
        made = jwt.algorithms.get_default_algorithms()[algorithm].to_jwk(key.public_key())
        listed.append({**json.loads(made), "kid": kid, "use": "sig"})
    return json.dumps({"keys": listed}).encode()


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSA),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_a_token_of_a_private_key_is_known_by_the_public_one(
    tmp_path: Path, algorithm: str, key: Any
) -> None:
    wanted = settings(
        algorithm=algorithm,
        key_file=write(tmp_path / "public.pem", pem(key)),
        signing_key_file=write(tmp_path / "private.pem", private_pem(key)),
    )
    token = create_token(wanted, subject="a", role="worker", tenant_id=None, ttl_seconds=60)

    principal = TokenVerifier(wanted).verify(token)

    assert (principal.subject, principal.role, principal.tenant_id) == ("a", Role.WORKER, None)


def test_the_public_key_is_no_secret_to_sign_with(tmp_path: Path) -> None:
    wanted = settings(algorithm="RS256", key_file=write(tmp_path / "public.pem", pem(RSA)))
    head, body = base64url(b'{"alg":"HS256"}'), base64url(json.dumps(claims()).encode())
    signature = hmac.digest(pem(RSA), f"{head}.{body}".encode(), "sha256")
    token = f"{head}.{body}.{base64url(signature)}"

    with pytest.raises(InvalidTokenError):
        TokenVerifier(wanted).verify(token)


def test_keys_rotate_by_their_kid_while_the_service_runs(tmp_path: Path) -> None:
    old, new = RSA, rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = write(tmp_path / "keys.json", jwks(old=old))
    verifier = TokenVerifier(settings(algorithm="RS256", key_file=path))
    by_old = signed(claims(), key=old, algorithm="RS256", headers={"kid": "old"})
    by_new = signed(claims(), key=new, algorithm="RS256", headers={"kid": "new"})
    verifier.verify(by_old)
    with pytest.raises(InvalidTokenError):
        verifier.verify(by_new)

    write(path, jwks(old=old, new=new))
    verifier.verify(by_old)
    verifier.verify(by_new)

    write(path, jwks(new=new) + b"\n")
    verifier.verify(by_new)
    with pytest.raises(InvalidTokenError):
        verifier.verify(by_old)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "new", "", None])
def test_a_kid_that_is_not_among_several_keys_is_refused(tmp_path: Path, kid: str | None) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = write(tmp_path / "keys.json", jwks(old=RSA, older=other))
    verifier = TokenVerifier(settings(algorithm="RS256", key_file=path))
    headers = {} if kid is None else {"kid": kid}

    with pytest.raises(InvalidTokenError):
        verifier.verify(signed(claims(), key=RSA, algorithm="RS256", headers=headers))


def test_a_file_that_is_half_written_leaves_the_keys_that_were_there(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.json", jwks(old=RSA))
    verifier = TokenVerifier(settings(algorithm="RS256", key_file=path))
    write(path, b'{"keys": [')

    verifier.verify(signed(claims(), key=RSA, algorithm="RS256", headers={"kid": "old"}))


WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - on purpose


@pytest.mark.parametrize(
    ("algorithm", "content", "message"),
    [
        pytest.param("RS256", pem(WEAK), "at least 2048 bits, this one 1024", id="weak"),
        pytest.param("ES256", pem(RSA), "no public key for ES256", id="another kind"),
        pytest.param(
            "ES256", pem(ec.generate_private_key(ec.SECP384R1())), "P-256", id="another curve"
        ),
        pytest.param("RS256", b"hello", "holds no key for RS256", id="no key"),
        pytest.param("HS256", b"x" * 40, "stands in a JWKS file", id="secret as text"),
    ],
)
def test_a_key_that_does_not_fit_is_refused_at_the_start(
    tmp_path: Path, algorithm: str, content: bytes, message: str
) -> None:
    path = write(tmp_path / "key.pem", content)

    with pytest.raises(ConfigurationError, match=message):
        TokenVerifier(settings(algorithm=algorithm, key_file=path))


@pytest.mark.parametrize(
    "secret", ["pw-of-14-signs", "a" * 40, "abababababababababababababababababab"]
)
def test_a_weak_secret_is_refused_when_settings_load(secret: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(secret=SecretStr(secret))

    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"role": "boss", "tenant_id": None}, "no role 'boss'", id="role"),
        pytest.param({"role": "tenant", "tenant_id": None}, "needs a tenant", id="no tenant"),
        pytest.param({"role": "tenant", "tenant_id": "global"}, "names the shared", id="global"),
    ],
)
def test_no_token_is_made_that_would_be_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_token(settings(secret=SecretStr(SECRET)), subject="a", ttl_seconds=60, **values)
