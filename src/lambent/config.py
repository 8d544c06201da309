"""What `lambent serve` can be told, checked once at the start; no part reads settings from anywhere else."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from lambent.model.limits import ACCOUNT_CONCURRENCY, CODE_STORAGE_BYTES, TIMEOUT_S_MAXIMUM

DEFAULT_LISTEN = "127.0.0.1:9400"
DEFAULT_DATA_DIR = Path(".lambent")

OWN_SERVICES = ("iam", "lambda", "logs", "sts")
"""AWS services that Lambent itself is."""
ANY_SERVICE = "*"

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)?")
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[KMGT]?B)?")
_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SERVICE = re.compile(r"\*|[a-z0-9-]+")
_HOST_PORT = r"(?:[^\s,/:]+|\[[0-9A-Fa-f:]+\]):\d{1,5}"
_BROKERS = {"kafka": re.compile(f"{_HOST_PORT}(?:,{_HOST_PORT})*"), "mq": re.compile(rf"[a-z+]+://{_HOST_PORT}")}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class InvalidConfiguration(ValueError):
    """The person who starts the server must change something; the message says what."""


class Auth(StrEnum):
    OPEN = "open"
    """Any key is accepted."""
    ENFORCE = "enforce"


class Egress(StrEnum):
    AUTO = "auto"
    """`open` where the host can, else `none`."""
    OPEN = "open"
    INTERNET = "internet"
    """As `open`, with private address ranges closed."""
    NONE = "none"


class KeepAlive(StrEnum):
    FIXED = "fixed"
    """Every idle environment for `--idle-timeout`."""
    ADAPTIVE = "adaptive"
    """By the habits of its function, once they are known."""


class RuntimeFallback(StrEnum):
    NONE = "none"
    NEAREST = "nearest"


class Isolation(StrEnum):
    AUTO = "auto"
    FULL = "full"
    USERNS = "userns"
    PROCESS = "process"
    """No isolation: development only."""


SPARE_SANDBOXES_MAXIMUM = 1_024
_SPARE_SANDBOXES = 256
_SPARE_SANDBOX_BYTES = 3 * 1024 * 1024
_SPARE_SHARE = 32


def spare_sandboxes(memory_bytes: int) -> int:
    """How many may stand ready on a host of so much memory: what a 32nd of it holds, 256 at most."""
    return min(_SPARE_SANDBOXES, memory_bytes // _SPARE_SHARE // _SPARE_SANDBOX_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The settings of one server.

    Raises:
        InvalidConfiguration: two settings do not go together, or one is out of range.
    """

    listen_host: str = "127.0.0.1"
    listen_port: int = 9400
    data_dir: Path = DEFAULT_DATA_DIR
    auth: Auth = Auth.OPEN
    egress: Egress = Egress.AUTO
    idle_timeout_s: float = 600.0
    keep_alive: KeepAlive = KeepAlive.FIXED
    environment_age_s_maximum: float = 4 * 3600.0
    drain_timeout_s: float = float(TIMEOUT_S_MAXIMUM)
    spare_sandboxes: int | None = None
    """None: by the memory there is."""
    account_concurrency: int = ACCOUNT_CONCURRENCY
    code_storage_bytes: int = CODE_STORAGE_BYTES
    """For each account in each region: of functions, their versions and layers, zipped."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """URL by AWS service, for functions; packages come from `s3`. `*` stands for those not named."""
    brokers: Mapping[str, str] = field(default_factory=dict)
    """Where the brokers of event sources are, by their ARN."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files that hold the secrets of event sources, by the secret's name or ARN."""
    runtime_fallback: RuntimeFallback = RuntimeFallback.NONE
    isolation: Isolation = Isolation.AUTO
    user: str | None = None
    """Whom the server becomes when it was started as root; None keeps root's user id, without its capabilities."""

    def __post_init__(self) -> None:
        if not 0 <= (self.spare_sandboxes or 0) <= SPARE_SANDBOXES_MAXIMUM:
            raise InvalidConfiguration(
                f"--spare-sandboxes must be 0 to {SPARE_SANDBOXES_MAXIMUM}, found {self.spare_sandboxes}"
            )
        if self.idle_timeout_s <= 0:
            raise InvalidConfiguration(f"--idle-timeout must be more than 0 s, found {self.idle_timeout_s:g} s")
        if self.environment_age_s_maximum <= 0:
            raise InvalidConfiguration(
                f"--max-environment-age must be more than 0 s, found {self.environment_age_s_maximum:g} s"
            )
        if self.account_concurrency < 1:
            raise InvalidConfiguration(f"--account-concurrency must be at least 1, found {self.account_concurrency}")
        if is_loopback(self.listen_host):
            return
        if self.auth is not Auth.ENFORCE:
            raise InvalidConfiguration(
                f"--listen {self.listen_host}:{self.listen_port} is reachable from other machines, where --auth open "
                "would let anyone run code here; add `--auth enforce`, or listen on 127.0.0.1"
            )
        if self.isolation is Isolation.PROCESS:
            raise InvalidConfiguration(
                "--isolation process isolates nothing and must not be reachable from other machines, but --listen is "
                f"{self.listen_host}:{self.listen_port}; listen on 127.0.0.1, or see `lambent doctor`"
            )


def parse_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPV6]:PORT`, e.g. `127.0.0.1:9400`; port 0 takes a free one."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidConfiguration(f"--listen must be HOST:PORT, e.g. {DEFAULT_LISTEN}; found {text!r}")
    return host, int(port)


def parse_duration_s(text: str) -> float:
    """A number of seconds, or a number with one of the units ms, s, m, h, d: `90`, `10m`, `1.5h`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidConfiguration(f"a duration must be seconds or have a unit, e.g. 90, 90s, 10m, 2h; found {text!r}")
    return float(match["number"]) * _SECONDS[match["unit"] or "s"]


def parse_size_bytes(text: str) -> int:
    """A number of bytes, or a number with one of the units B, KB, MB, GB, TB, each 1,024 times the one before."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise InvalidConfiguration(f"a size must be bytes or have a unit, e.g. 500MB, 75GB; found {text!r}")
    return int(float(match["number"]) * _BYTES[match["unit"] or "B"])


def parse_endpoints(pairs: Iterable[str]) -> Mapping[str, str]:
    """`SERVICE=URL` pairs as a mapping."""
    endpoints: dict[str, str] = {}
    for pair in pairs:
        service, _, url = pair.partition("=")
        if not _SERVICE.fullmatch(service):
            raise InvalidConfiguration(
                f"--endpoint must be SERVICE=URL, e.g. s3=http://127.0.0.1:9000, or '*'=URL; found {pair!r}"
            )
        if service in OWN_SERVICES:
            raise InvalidConfiguration(f"--endpoint {service}: Lambent itself is what answers for {service}")
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise InvalidConfiguration(f"--endpoint {service} must be an http or https URL, found {url!r}")
        endpoints[service] = url
    return endpoints


def parse_brokers(pairs: Iterable[str]) -> Mapping[str, str]:
    """`ARN=ADDRESS` pairs as a mapping: `HOST:PORT` once or more of a Kafka cluster, a URL of an Amazon MQ broker."""
    brokers: dict[str, str] = {}
    for pair in pairs:
        arn, _, address = pair.partition("=")
        form = _BROKERS.get(arn.split(":")[2] if arn.count(":") > 4 else "")
        if form is None or not form.fullmatch(address):
            raise InvalidConfiguration(
                "--broker must be ARN=HOST:PORT,HOST:PORT of an MSK cluster, or ARN=amqp://HOST:PORT of an Amazon MQ "
                f"broker; found {pair!r}"
            )
        brokers[arn] = address
    return brokers


def parse_secrets(pairs: Iterable[str]) -> Mapping[str, Path]:
    """`NAME=FILE` pairs as a mapping."""
    secrets: dict[str, Path] = {}
    for pair in pairs:
        name, _, file = pair.partition("=")
        if not name or not file:
            raise InvalidConfiguration(f"--secret must be NAME=FILE, e.g. kafka-login=kafka.json; found {pair!r}")
        secrets[name] = Path(file).absolute()
    return secrets


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
