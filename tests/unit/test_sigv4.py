"""Signatures against botocore's signer, in both directions, and every refusal of reference/iam.md §1."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from lambent.iam import signed_request, sigv4
from lambent.iam.signed import Signed
from lambent.iam.sigv4 import Credential
from lambent.model.errors import IncompleteSignature, InvalidSignature

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC).timestamp()
KEY = Credential("AKIAEXAMPLE", "secret/+key")
SESSION = Credential("ASIAEXAMPLE", "another secret", "token+/=")
HOST = "127.0.0.1:9400"
FUNCTION = "/2015-03-31/functions/hello/invocations"


def botocore_signed(
    signer: type[auth.BaseSigner],
    credential: Credential,
    *,
    path: str,
    query: str = "",
    body: bytes = b"",
    service: str = "lambda",
    headers: dict[str, str] | None = None,
    **options: int,
) -> AWSRequest:
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method="POST", url=url, data=body, headers=headers or {})
    keys = Credentials(credential.access_key_id, credential.secret, credential.session_token)
    with patch("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW, UTC)):
        signer(keys, service, "eu-west-1", **options).add_auth(request)
    return request


def received(request: AWSRequest) -> Signed:
    url = urlsplit(request.url)
    headers = {"host": HOST, "user-agent": "x"} | {name.lower(): str(value) for name, value in request.headers.items()}
    signed = signed_request.parse(request.method, url.path, url.query, headers)
    assert signed is not None
    return signed


def test_a_header_beyond_ascii_is_signed_as_the_bytes_on_the_wire() -> None:
    request = botocore_signed(auth.SigV4Auth, KEY, path=FUNCTION, headers={"X-Amz-Tenant-Id": "Zoë"})
    request.headers.replace_header("X-Amz-Tenant-Id", "Zoë".encode().decode("latin-1"))

    sigv4.verify(received(request), KEY.secret, b"", NOW)


def signed_headers(**changes: str) -> dict[str, str]:
    headers = {"host": HOST, "x-amz-log-type": "Tail"}
    added = sigv4.sign(
        KEY,
        method="POST",
        raw_path=FUNCTION,
        query="",
        headers=headers,
        body=b"{}",
        region="eu-west-1",
        service="lambda",
        now=NOW,
    )
    return {**headers, **added, **{name.replace("_", "-"): value for name, value in changes.items()}}


def check(headers: dict[str, str], *, body: bytes = b"{}", path: str = FUNCTION, now: float = NOW) -> None:
    signed = signed_request.parse("POST", path, "", headers)
    assert signed is not None
    sigv4.verify(signed, KEY.secret, body, now)


SEGMENTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: text not in (".", ".."))
PATHS = st.lists(SEGMENTS | st.sampled_from(["$LATEST", "a:b", "a+b", "ä", "a%3Ab"]), min_size=1, max_size=4).map(
    lambda segments: "/" + "/".join(quote(segment, safe="-_.~") for segment in segments)
)
QUERIES = st.lists(st.tuples(SEGMENTS, SEGMENTS | st.just("")), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
)


@given(path=PATHS, query=QUERIES, body=st.binary(max_size=50), credential=st.sampled_from([KEY, SESSION]))
def test_what_botocore_signs_is_accepted(path: str, query: str, body: bytes, credential: Credential) -> None:
    request = botocore_signed(
        auth.SigV4Auth, credential, path=path, query=query, body=body, headers={"X-Amz-Log-Type": "  two   words "}
    )
    signed = received(request)

    sigv4.verify(signed, credential.secret, body, NOW)

    assert (signed.access_key_id, signed.region, signed.service) == (credential.access_key_id, "eu-west-1", "lambda")
    assert signed.session_token == credential.session_token


@given(path=PATHS, query=QUERIES, credential=st.sampled_from([KEY, SESSION]))
def test_what_botocore_presigns_is_accepted(path: str, query: str, credential: Credential) -> None:
    signed = received(botocore_signed(auth.SigV4QueryAuth, credential, path=path, query=query, expires=60))

    sigv4.verify(signed, credential.secret, b"", NOW + 59)

    assert signed.is_presigned
    with pytest.raises(InvalidSignature, match="Signature expired: "):
        sigv4.verify(signed, credential.secret, b"", NOW + 61)


@given(path=PATHS, query=QUERIES, body=st.binary(max_size=50), credential=st.sampled_from([KEY, SESSION]))
def test_what_we_sign_is_what_botocore_would_sign(path: str, query: str, body: bytes, credential: Credential) -> None:
    request = botocore_signed(auth.SigV4Auth, credential, path=path, query=query, body=body)

    added = sigv4.sign(
        credential,
        method="POST",
        raw_path=path,
        query=query,
        headers={"host": HOST},
        body=body,
        region="eu-west-1",
        service="lambda",
        now=NOW,
    )

    assert added["authorization"] == request.headers["Authorization"]


@given(path=PATHS, query=QUERIES, service=st.sampled_from(["lambda", "s3"]))
def test_a_url_that_we_presign_is_accepted_until_it_expires(path: str, query: str, service: str) -> None:
    url = urlsplit(
        sigv4.presign(
            SESSION,
            method="GET",
            base_url=f"http://{HOST}",
            raw_path=path,
            query=query,
            region="eu-west-1",
            service=service,
            expires_s=600,
            now=NOW,
        )
    )
    signed = signed_request.parse("GET", url.path, url.query, {"host": HOST})
    assert signed is not None

    sigv4.verify(signed, SESSION.secret, b"", NOW + 600)
    with pytest.raises(InvalidSignature, match=r"is now earlier than \S+ \(\S+ - 10 min\.\)"):
        sigv4.verify(signed, SESSION.secret, b"", NOW + 601)


@given(path=PATHS, signer=st.sampled_from([auth.S3SigV4Auth, auth.S3SigV4QueryAuth]))
def test_s3_paths_are_encoded_once_as_botocore_does(path: str, signer: type[auth.SigV4Auth]) -> None:
    request = botocore_signed(signer, KEY, path=path, service="s3")

    sigv4.verify(received(request), KEY.secret, b"", NOW)


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1", "a=1&a=2"),
        ("flag", "flag="),
        ("a=x+y", "a=x%20y"),
        ("a=%3a", "a=%3A"),
        ("Qualifier=$LATEST", "Qualifier=%24LATEST"),
        ("", ""),
    ],
)
def test_a_query_has_one_canonical_form(sent: str, canonical: str) -> None:
    assert sigv4.canonical_query(sent) == canonical


@pytest.mark.parametrize(
    "path", ["//2015-03-31/./functions/hello/invocations", "/x/../2015-03-31/functions/hello/invocations"]
)
def test_a_path_is_tidied_before_it_is_signed(path: str) -> None:
    check(signed_headers(), path=path)


def test_a_signature_holds_for_five_minutes_either_way() -> None:
    check(signed_headers(), now=NOW + 300)
    check(signed_headers(), now=NOW - 300)


def test_an_old_signature_is_refused_with_both_times() -> None:
    with pytest.raises(InvalidSignature) as refusal:
        check(signed_headers(), now=NOW + 301)

    assert refusal.value.message == (
        "Signature expired: 20260203T040506Z is now earlier than 20260203T040507Z (20260203T041007Z - 5 min.)"
    )


def test_a_signature_from_the_future_is_refused_with_both_times() -> None:
    with pytest.raises(InvalidSignature) as refusal:
        check(signed_headers(), now=NOW - 301)

    assert refusal.value.message == (
        "Signature not yet current: 20260203T040506Z is still later than 20260203T040505Z (20260203T040005Z + 5 min.)"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_log_type": "None"},
        {"host": "elsewhere"},
        {"x_amz_date": "20260203T040507Z"},
    ],
)
def test_a_changed_header_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature, match="The request signature we calculated does not match"):
        check(signed_headers(**headers))


def test_a_changed_body_is_refused_even_with_its_own_hash_announced() -> None:
    with pytest.raises(InvalidSignature, match="does not match"):
        check(signed_headers(), body=b"{ }")


def test_an_unsigned_amz_header_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="'x-amz-invocation-type' must be a 'SignedHeader'"):
        check(signed_headers(x_amz_invocation_type="Event"))


def test_a_signature_that_leaves_the_host_out_is_refused() -> None:
    headers = signed_headers()
    headers["authorization"] = headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")

    with pytest.raises(InvalidSignature, match="'Host' or ':authority' must be a 'SignedHeader'"):
        check(headers)


def test_a_scope_of_another_day_is_refused() -> None:
    headers = signed_headers()
    headers["authorization"] = headers["authorization"].replace("/20260203/", "/20260202/")

    with pytest.raises(InvalidSignature, match="Date in Credential scope does not match YYYYMMDD"):
        check(headers)


@pytest.mark.parametrize(
    ("authorization", "complaint"),
    [
        ("Bearer abc", "'abc' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer abc'."),
        (
            "AWS4-HMAC-SHA256 Credential=a/20260203/r/lambda/aws4_request",
            "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' "
            "parameter. Authorization=AWS4-HMAC-SHA256 Credential=a/20260203/r/lambda/aws4_request",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20260203/r, SignedHeaders=host, Signature=00",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            "got 'a/20260203/r'",
        ),
    ],
)
def test_a_malformed_header_is_refused_with_what_is_wrong(authorization: str, complaint: str) -> None:
    with pytest.raises(IncompleteSignature) as refusal:
        signed_request.parse("GET", "/", "", {"authorization": authorization})

    assert refusal.value.message == complaint


def test_a_header_without_any_date_is_refused() -> None:
    headers = signed_headers()
    del headers["x-amz-date"]

    with pytest.raises(IncompleteSignature, match="requires existence of either a 'X-Amz-Date' or a 'Date' header"):
        check(headers)


def test_the_date_header_stands_in_for_x_amz_date() -> None:
    signed = signed_request.parse(
        "GET",
        "/",
        "",
        {
            "authorization": "AWS4-HMAC-SHA256 Credential=a/20260203/r/lambda/aws4_request, SignedHeaders=host, "
            "Signature=00",
            "date": "Tue, 03 Feb 2026 04:05:06 GMT",
        },
    )

    assert signed is not None
    assert signed.time == "20260203T040506Z"


def test_a_date_that_is_no_date_is_refused() -> None:
    headers = signed_headers(x_amz_date="20260203T996199Z")

    with pytest.raises(IncompleteSignature, match="Date must be in ISO-8601 'basic format'"):
        check(headers)


def test_a_presigned_url_with_parts_missing_is_refused() -> None:
    with pytest.raises(IncompleteSignature, match="must include 'X-Amz-Credential'"):
        signed_request.parse("GET", "/", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", {})


@pytest.mark.parametrize("expires", ["604801", "-1", "soon", "9999999999"])
def test_a_presigned_url_lasts_a_week_at_most(expires: str) -> None:
    url = sigv4.presign(
        KEY,
        method="GET",
        base_url=f"http://{HOST}",
        raw_path="/",
        region="eu-west-1",
        service="lambda",
        expires_s=60,
        now=NOW,
    )

    with pytest.raises(IncompleteSignature, match="X-Amz-Expires"):
        signed_request.parse(
            "GET", "/", urlsplit(url).query.replace("Expires=60", f"Expires={expires}"), {"host": HOST}
        )


def test_a_request_without_a_signature_has_none() -> None:
    assert signed_request.parse("GET", "/", "Marker=a", {"host": HOST}) is None


def test_a_secret_is_not_shown() -> None:
    assert KEY.secret not in repr(KEY)


@given(st.text(max_size=80), st.text(max_size=80))
def test_nothing_a_caller_writes_breaks_the_parser(authorization: str, query: str) -> None:
    try:
        signed_request.parse("GET", "/", "X-Amz-Signature=" + query, {})
        signed_request.parse(
            "GET", "/", query, {"authorization": "AWS4-HMAC-SHA256 " + authorization, "x-amz-date": query}
        )
    except (IncompleteSignature, InvalidSignature):
        pass
