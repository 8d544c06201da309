"""Callers by their signatures, the root key's file, and who STS says they are."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from lambent.iam import root_key, sigv4
from lambent.iam.authenticator import Caller, EnforcingAuthenticator, Key, OpenAuthenticator
from lambent.iam.sessions import Identity, Sessions
from lambent.iam.sigv4 import Credential
from lambent.model.errors import (
    AccessDenied,
    ApiError,
    ExpiredToken,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)

NOW = 1_770_091_506.0
ROOT = Credential("AKIAROOT", "secret")
ROLE = Identity(account="111122223333", arn="arn:aws:sts::111122223333:assumed-role/r/f", user_id="AROAX:f")
KEYS = {"AKIAROOT": Key(credential=ROOT, account="000000000000")}
SESSIONS = Sessions("secret of the server")
SESSION = SESSIONS.issue(ROLE, expires_s=int(NOW) + 1).credential
OVER = SESSIONS.issue(ROLE, expires_s=int(NOW)).credential
FOREIGN = Sessions("secret of another server").issue(ROLE, expires_s=int(NOW) + 1).credential
INVALID_TOKEN = "The security token included in the request is invalid."
OPEN = OpenAuthenticator(SESSIONS)
ENFORCING = EnforcingAuthenticator(KEYS.get, SESSIONS)


def headers_for(credential: Credential, region: str = "eu-west-1") -> dict[str, str]:
    host = {"host": "h"}
    return host | sigv4.sign(
        credential,
        method="GET",
        raw_path="/p",
        query="",
        headers=host,
        body=b"",
        region=region,
        service="lambda",
        now=NOW,
    )


def caller(authenticator: OpenAuthenticator | EnforcingAuthenticator, headers: dict[str, str]) -> Caller:
    return authenticator.authenticate("GET", "/p", "", headers, b"", NOW)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic dXNlcg=="}, {"authorization": ""}])
def test_open_lets_in_callers_without_a_signature(headers: dict[str, str]) -> None:
    assert caller(OPEN, headers) == Caller(
        account="000000000000",
        region="us-east-1",
        access_key_id=None,
        service=None,
        arn="arn:aws:iam::000000000000:root",
        user_id="000000000000",
    )


def test_open_takes_the_region_and_a_twelve_digit_account_from_the_scope() -> None:
    known = caller(OPEN, headers_for(Credential("123456789012", "any")))

    assert (known.account, known.region, known.service) == ("123456789012", "eu-west-1", "lambda")
    assert known.arn == "arn:aws:iam::123456789012:root"
    assert caller(OPEN, headers_for(Credential("dummy", "any"))).account == "000000000000"


def test_open_does_not_take_a_region_that_would_spoil_an_arn() -> None:
    assert caller(OPEN, headers_for(Credential("dummy", "any"), region="a:b")).region == "us-east-1"


def test_enforce_lets_in_a_caller_with_a_known_key() -> None:
    assert caller(ENFORCING, headers_for(ROOT)).arn == "arn:aws:iam::000000000000:root"


def test_a_session_is_who_its_token_says_until_it_is_over() -> None:
    expected = Caller(
        account="111122223333",
        region="eu-west-1",
        access_key_id=SESSION.access_key_id,
        service="lambda",
        arn=ROLE.arn,
        user_id="AROAX:f",
    )

    assert caller(ENFORCING, headers_for(SESSION)) == caller(OPEN, headers_for(SESSION)) == expected
    with pytest.raises(ExpiredToken, match="The security token included in the request is expired"):
        caller(ENFORCING, headers_for(OVER))
    assert caller(OPEN, headers_for(OVER)).arn == ROLE.arn
    assert caller(OPEN, headers_for(FOREIGN)).arn == "arn:aws:iam::000000000000:root"


def test_enforce_lets_only_root_do_what_an_identity_policy_would_have_to_allow() -> None:
    root, session = caller(ENFORCING, headers_for(ROOT)), caller(ENFORCING, headers_for(SESSION))

    ENFORCING.authorize(root, "lambda", "CreateFunction")
    ENFORCING.authorize(session, "sts", "GetCallerIdentity")
    OPEN.authorize(session, "lambda", "CreateFunction")
    with pytest.raises(AccessDenied, match="assumed-role/r/f is not authorized to perform: lambda:CreateFunction"):
        ENFORCING.authorize(session, "lambda", "CreateFunction")


@pytest.mark.parametrize(
    ("headers", "refusal", "message"),
    [
        ({}, MissingAuthenticationToken, "Missing Authentication Token"),
        (headers_for(Credential("AKIAOTHER", "x")), UnrecognizedClient, INVALID_TOKEN),
        (headers_for(Credential(SESSION.access_key_id, SESSION.secret)), UnrecognizedClient, INVALID_TOKEN),
        (
            headers_for(Credential(OVER.access_key_id, SESSION.secret, SESSION.session_token)),
            UnrecognizedClient,
            INVALID_TOKEN,
        ),
        (headers_for(FOREIGN), UnrecognizedClient, INVALID_TOKEN),
        (
            headers_for(Credential(SESSION.access_key_id, "wrong", SESSION.session_token)),
            InvalidSignature,
            "does not match the signature you provided",
        ),
        (headers_for(Credential("AKIAROOT", "secret", "t")), UnrecognizedClient, INVALID_TOKEN),
        (headers_for(Credential("AKIAROOT", "wrong")), InvalidSignature, "does not match the signature you provided"),
        (headers_for(ROOT, region="nowhere"), InvalidSignature, "Credential should be scoped to a valid region."),
    ],
)
def test_enforce_refuses_everybody_else(headers: dict[str, str], refusal: type[ApiError], message: str) -> None:
    with pytest.raises(refusal, match=re.escape(message)) as refused:
        caller(ENFORCING, headers)

    assert refused.value.status == 403


def test_the_root_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = root_key.load_or_create(tmp_path)

    assert root_key.load_or_create(tmp_path) == key
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", key.credential.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", key.credential.secret)
    assert key.account == "000000000000"
    assert [path.name for path in tmp_path.iterdir()] == [root_key.FILE_NAME]
    assert stat.S_IMODE((tmp_path / root_key.FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b'{"access_key_id": 1}', b"\xff"])
def test_a_damaged_key_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / root_key.FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(root_key.PlatformError, match=re.escape(str(path))):
        root_key.load_or_create(tmp_path)
    assert path.read_bytes() == content


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    root_key.load_or_create(tmp_path)
    (tmp_path / root_key.FILE_NAME).chmod(0o644)

    with pytest.raises(root_key.PlatformError, match="chmod 600"):
        root_key.load_or_create(tmp_path)
