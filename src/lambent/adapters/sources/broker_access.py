"""How to get at a broker: what a mapping's SourceAccessConfigurations come to, with their secrets read."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from lambent.adapters.http.secrets import Secrets, SecretUnavailable
from lambent.model.event_source_mapping import EventSourceMapping, SourceAccess
from lambent.ports.sources import SourceUnavailable

_MECHANISMS = {
    "BASIC_AUTH": "PLAIN",
    "SASL_SCRAM_256_AUTH": "SCRAM-SHA-256",
    "SASL_SCRAM_512_AUTH": "SCRAM-SHA-512",
}
_INVALID_CERTIFICATE = "Provided certificate or private key is invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccess:
    """`mechanism` is SASL's; `requires_tls`: the mapping names a certificate, so nothing else will do."""

    mechanism: str | None = None
    username: str = ""
    password: str = ""
    tls: ssl.SSLContext
    requires_tls: bool = False
    virtual_host: str = "/"


async def broker_access(mapping: EventSourceMapping, secrets: Secrets) -> BrokerAccess:
    """Read what the mapping's access configurations name; those about networks of AWS say nothing to Lambent.

    Raises:
        SourceUnavailable: a secret is not to be had, or not what its type asks for.
    """
    by_type = {one.type: one for one in mapping.access}
    mechanism = next((name for type, name in _MECHANISMS.items() if type in by_type), None)
    login: Mapping[str, str] = {}
    for type in _MECHANISMS:
        if type in by_type:
            login = await _read(by_type[type], secrets, ("username", "password"))
    virtual_host = by_type.get("VIRTUAL_HOST")
    return BrokerAccess(
        mechanism=mechanism,
        username=login.get("username", ""),
        password=login.get("password", ""),
        tls=await _tls(by_type, secrets),
        requires_tls=not by_type.keys().isdisjoint(("CLIENT_CERTIFICATE_TLS_AUTH", "SERVER_ROOT_CA_CERTIFICATE")),
        virtual_host=virtual_host.uri if virtual_host else "/",
    )


async def _tls(by_type: Mapping[str, SourceAccess], secrets: Secrets) -> ssl.SSLContext:
    root, client = by_type.get("SERVER_ROOT_CA_CERTIFICATE"), by_type.get("CLIENT_CERTIFICATE_TLS_AUTH")
    try:
        authority = None if root is None else (await _read(root, secrets, ("certificate",)))["certificate"]
        context = ssl.create_default_context(cadata=authority)
        if client is not None:
            _load_client(context, await _read(client, secrets, ("certificate", "privateKey")))
    except (ssl.SSLError, ValueError) as error:
        raise SourceUnavailable(f"{_INVALID_CERTIFICATE}: {error}") from error
    return context


def _load_client(context: ssl.SSLContext, secret: Mapping[str, str]) -> None:
    """Python takes a certificate with its key from a file only: from one that is in memory, and gone at once."""
    file = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(file, f"{secret['certificate']}\n{secret['privateKey']}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{file}", password=secret.get("privateKeyPassword", ""))
    finally:
        os.close(file)


async def _read(access: SourceAccess, secrets: Secrets, members: tuple[str, ...]) -> Mapping[str, str]:
    try:
        secret = await secrets.read(access.uri)
    except SecretUnavailable as error:
        raise SourceUnavailable(str(error)) from error
    for name in members:
        if name not in secret:
            raise SourceUnavailable(f"The secret {access.uri} of {access.type} has no {name}")
    return secret
