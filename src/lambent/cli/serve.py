"""`lambent serve`: run a server in the foreground."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lambent.config import (
    DEFAULT_DATA_DIR,
    DEFAULT_LISTEN,
    Auth,
    Egress,
    Isolation,
    KeepAlive,
    RuntimeFallback,
    ServeOptions,
    parse_brokers,
    parse_duration_s,
    parse_endpoints,
    parse_listen,
    parse_secrets,
    parse_size_bytes,
)
from lambent.model.limits import ACCOUNT_CONCURRENCY


def serve(
    *,
    listen: str = DEFAULT_LISTEN,
    data_dir: Path = DEFAULT_DATA_DIR,
    auth: Auth = Auth.OPEN,
    egress: Egress = Egress.AUTO,
    idle_timeout: str = "10m",
    keep_alive: KeepAlive = KeepAlive.FIXED,
    max_environment_age: str = "4h",
    drain_timeout: str = "15m",
    spare_sandboxes: int | None = None,
    account_concurrency: int = ACCOUNT_CONCURRENCY,
    code_storage: str = "75GB",
    endpoint: Annotated[list[str] | None, Parameter(negative=())] = None,
    broker: Annotated[list[str] | None, Parameter(negative=())] = None,
    secret: Annotated[list[str] | None, Parameter(negative=())] = None,
    runtime_fallback: RuntimeFallback = RuntimeFallback.NONE,
    isolation: Isolation = Isolation.AUTO,
    user: str | None = None,
) -> int:
    """Run a server in the foreground; SIGTERM or Ctrl-C lets running invokes end and stops it.

    Parameters
    ----------
    listen:
        HOST:PORT to serve AWS's API on. Beyond loopback, `--auth enforce` is needed.
    data_dir:
        Where functions, packages and logs are kept. One server at a time.
    auth:
        `open` accepts any key; `enforce` checks signatures against the root key that `lambent env` shows.
    egress:
        What functions reach: `open` as on AWS, `internet` without private addresses, `none` only themselves;
        `auto` is `open` where this host can give it, else `none`.
    idle_timeout:
        How long an idle environment is kept, e.g. 600, 90s, 10m.
    keep_alive:
        `fixed` keeps every idle environment for the idle timeout; `adaptive` learns when each function is called, keeps
        environments for then, and makes them shortly before.
    max_environment_age:
        How long any environment is kept, however busy it is; another one takes its place.
    drain_timeout:
        How long running invokes may go on once the server was told to stop.
    spare_sandboxes:
        How many sandboxes stand ready before anybody wants them, at most: as many as were wanted at once in the last
        ten minutes, and one for each function deployed in that time and not yet called; two thirds of them always,
        for ten minutes after a function was started or deployed. By default what a 32nd of the host's memory holds, and
        256 at most.
    account_concurrency:
        How many invokes may run at once.
    code_storage:
        How much code an account may keep in a region, all versions counted, e.g. 500MB, 75GB.
    endpoint:
        SERVICE=URL of an AWS-compatible service, e.g. s3=http://127.0.0.1:9000, or '*'=URL for all not named: functions
        call them, packages come from s3, outcomes of asynchronous invokes go to sqs, sns, events and s3. Repeatable.
    broker:
        ARN=HOST:PORT,... of an MSK cluster, or ARN=amqp://HOST:PORT of an Amazon MQ broker of RabbitMQ: where it is
        that event source mappings name by its ARN. Repeatable.
    secret:
        NAME=FILE of a secret that event source mappings name in their SourceAccessConfigurations, as JSON, e.g.
        kafka-login=kafka.json; all others are asked of `--endpoint secretsmanager=URL`. Repeatable.
    runtime_fallback:
        What runs a function whose interpreter is not on this host: `none`, or the `nearest` version of the language.
    isolation:
        The sandbox to insist on; `auto` takes the best that this host gives (see `lambent doctor`).
    user:
        Whom the server becomes when it is started as root.
    """
    host, port = parse_listen(listen)
    options = ServeOptions(
        listen_host=host,
        listen_port=port,
        data_dir=data_dir,
        auth=auth,
        egress=egress,
        idle_timeout_s=parse_duration_s(idle_timeout),
        keep_alive=keep_alive,
        environment_age_s_maximum=parse_duration_s(max_environment_age),
        drain_timeout_s=parse_duration_s(drain_timeout),
        spare_sandboxes=spare_sandboxes,
        account_concurrency=account_concurrency,
        code_storage_bytes=parse_size_bytes(code_storage),
        endpoints=parse_endpoints(endpoint or ()),
        brokers=parse_brokers(broker or ()),
        secrets=parse_secrets(secret or ()),
        runtime_fallback=runtime_fallback,
        isolation=isolation,
        user=user,
    )
    gc.disable()  # nothing that is imported is garbage: looking for some takes a tenth of the time
    from lambent.process import serve as run_server

    gc.freeze()
    gc.enable()
    return run_server(options)
