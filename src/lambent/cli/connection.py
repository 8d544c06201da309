"""Where the server is, and clients of it: botocore's for AWS's operations, a plain GET for Lambent's own documents."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Annotated, Any  # Any: botocore's clients are made at run time and have no types

from cyclopts import Parameter

from lambent.cli.failure import ExitStatus, Failure, no_server, not_lambent
from lambent.config import DEFAULT_LISTEN

DEFAULT_ENDPOINT_URL = f"http://{DEFAULT_LISTEN}"
DEFAULT_REGION = "us-east-1"

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 960  # an invoke may last 900 s


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The options of every command that talks to a server."""

    endpoint_url: Annotated[str, Parameter(env_var=("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"))] = (
        DEFAULT_ENDPOINT_URL
    )
    """Where the server listens."""

    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False
    """Print JSON, and nothing else, on stdout."""

    def client(self, service: str = "lambda") -> Any:
        """A botocore client that never retries. Where no credentials are configured it signs with a dummy key."""
        import botocore.config

        session = _session()
        return session.create_client(
            service,
            region_name=_region(session),
            endpoint_url=self.endpoint_url,
            config=botocore.config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                tcp_keepalive=True,
            ),
        )

    def call(self, method: str, path: str, **parameters: str | int | None) -> Any:
        """A signed request below /_lambent/, its answer parsed; parameters that are None are left out.

        Raises:
            Failure: the server refuses; or nobody answers there, or not Lambent.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        session = _session()
        query = urllib.parse.urlencode({name: value for name, value in parameters.items() if value is not None})
        url = f"{self.endpoint_url.rstrip('/')}/_lambent/{path}{'?' if query else ''}{query}"
        signed = AWSRequest(method, url)
        SigV4Auth(session.get_credentials(), "lambda", _region(session)).add_auth(signed)
        request = urllib.request.Request(url, method=method, headers=dict(signed.headers.items()))
        try:
            with urllib.request.urlopen(request, timeout=_READ_TIMEOUT_S) as response:
                return json.load(response)
        except urllib.error.HTTPError as exc:
            raise _refusal(exc, self.endpoint_url) from exc
        except json.JSONDecodeError as exc:
            raise not_lambent(self.endpoint_url) from exc
        except (OSError, ValueError) as exc:
            raise no_server(self.endpoint_url) from exc

    def document(self, name: str) -> Any:
        """One of the documents that Lambent serves beside AWS's API, parsed.

        Raises:
            Failure: nobody answers there, or not Lambent.
        """
        url = f"{self.endpoint_url.rstrip('/')}/_lambent/{name}"
        try:
            with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_S) as response:
                return json.load(response)
        except (urllib.error.HTTPError, json.JSONDecodeError) as exc:
            raise not_lambent(self.endpoint_url) from exc
        except (OSError, ValueError) as exc:
            raise no_server(self.endpoint_url) from exc


def _session() -> Any:
    """botocore's, with a dummy key where no credentials are configured."""
    import botocore.session

    session = botocore.session.get_session()
    session.get_component("credential_provider").remove("iam-role")  # asks the network
    if session.get_credentials() is None:
        session.set_credentials("test", "test")
    return session


def _region(session: Any) -> str:
    return str(session.get_config_variable("region") or DEFAULT_REGION)


def _refusal(error: urllib.error.HTTPError, endpoint_url: str) -> Failure:
    try:
        message = json.load(error)["message"]
    except (ValueError, KeyError, TypeError):
        return not_lambent(endpoint_url)
    return Failure(str(message), status=ExitStatus.REFUSED)


ANY_SERVER = Server()
