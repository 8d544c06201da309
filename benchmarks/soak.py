"""`python -m benchmarks.soak`: minutes of mixed load and faults on a server of its own; then nothing may be left.

A hundred functions of all runtimes on this host are invoked with payloads of any size, and crash, time out, run out of
memory, stream, are updated, deleted and made again. What the server holds is sampled all the while. It passes if, when
all functions are gone, it holds what it held after two minutes, and memory did not grow meanwhile.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any  # Any: botocore's clients have no types

from botocore.exceptions import ClientError

from benchmarks.handles import Handles, Sample
from lambent.testing.service import RunningService, deploy, make_zip, running_service

CODE = """
import os, sys, time

def handler(event, context):
    doing = event.get("do")
    if doing == "raise":
        raise ValueError("as asked")
    if doing == "exit":
        os._exit(event["status"])
    if doing == "signal":
        os.abort()
    if doing == "sleep":
        time.sleep(event["s"])
    if doing == "memory":
        return len(bytearray(event["bytes"]))
    if doing == "print":
        print("x" * event["bytes"])
    if doing == "tmp":
        with open("/tmp/file", "wb") as file:
            file.write(b"x" * event["bytes"])
    if doing == "respond":
        return "x" * event["bytes"]
    return event
"""
STREAMING = """
def handler(event, context):
    for _ in range(event.get("chunks", 1)):
        yield b"x" * 10_000
"""
EVENTS: Sequence[tuple[int, Callable[[random.Random], dict[str, Any]]]] = (
    (60, lambda chance: {"payload": "x" * int(10 ** chance.uniform(0, 6.6))}),
    (10, lambda chance: {"do": "sleep", "s": chance.uniform(0, 0.3)}),
    (5, lambda chance: {"do": "print", "bytes": int(10 ** chance.uniform(0, 5.5))}),
    (5, lambda chance: {"do": "tmp", "bytes": int(10 ** chance.uniform(0, 7.5))}),
    (5, lambda chance: {"do": "memory", "bytes": int(10 ** chance.uniform(0, 7.7))}),
    (4, lambda _: {"do": "raise"}),
    (2, lambda chance: {"do": "exit", "status": chance.randint(0, 3)}),
    (1, lambda _: {"do": "signal"}),
    (1, lambda _: {"do": "sleep", "s": 60}),
    (2, lambda _: {"do": "memory", "bytes": 300 * 2**20}),
    (2, lambda _: {"do": "respond", "bytes": 6 * 2**20 + 100}),
)
"""How often, and what; the last ones are faults."""

_OPTIONS = ("--idle-timeout", "15s", "--max-environment-age", "3m")
_SPARE_SANDBOXES = 16
"""No more shall stand ready at the end than once all was warm."""
_CLIENTS = 6
_THINKS_S = 0.02
_SAMPLE_S = 5.0
_WARM_UP_S = 120.0
_QUIET_S = 12.0
_GONE_S = 120.0
_GROWTH_MIB = 4.0
_GROWTH_SHARE = 0.1
"""What malloc keeps depends on the payloads that were under way."""
_POOLED_THREADS = 6
"""asyncio's, which come one by one and stay."""
_MEMORY = "MiB of "
_THREADS = "threads of "


class Soak:
    """The load on one server, by several clients at once."""

    def __init__(self, service: RunningService, functions: int) -> None:
        self._service = service
        self._names = [f"soak-{number}" for number in range(functions)]
        self._runtimes = _runtimes(service)
        self.outcomes: Counter[str] = Counter()
        self._ends = 0.0

    def deploy_all(self) -> None:
        client = self._service.client()
        for name in self._names:
            self._deploy(client, name, random.Random(name))

    def delete_all(self) -> None:
        client = self._service.client()
        for name in self._names:
            with suppress(client.exceptions.ResourceNotFoundException):
                client.delete_function(FunctionName=name)

    def run(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        threads = [threading.Thread(target=self._invoke_on, args=(number,)) for number in range(_CLIENTS)]
        threads.append(threading.Thread(target=self._operate_on))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @staticmethod
    def _is_streaming(name: str) -> bool:
        return name.endswith("9")

    def _deploy(self, client: Any, name: str, chance: random.Random) -> None:
        code = STREAMING if self._is_streaming(name) else CODE
        deploy(
            client,
            name,
            f"{code}\n# {chance.random()}\n",
            Runtime=chance.choice(self._runtimes),
            MemorySize=chance.choice((128, 192, 256)),
            Timeout=chance.randint(1, 3),
        )

    # Invokes ----------------------------------------------------------------------------------------------------------

    def _invoke_on(self, number: int) -> None:
        chance = random.Random(number)
        host = self._service.endpoint_url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        while time.monotonic() < self._ends:
            name = self._names[min(int(chance.paretovariate(0.7)), len(self._names)) - 1]  # few are called often
            try:
                self.outcomes[self._invoke(connection, name, chance)] += 1
            except (OSError, http.client.HTTPException) as exc:
                self.outcomes[f"broken: {type(exc).__name__}"] += 1
                connection.close()
            time.sleep(chance.expovariate(1 / _THINKS_S))
        connection.close()

    def _invoke(self, connection: http.client.HTTPConnection, name: str, chance: random.Random) -> str:
        path, kind = f"/2015-03-31/functions/{name}/invocations", "invoke"
        headers = {"Content-Type": "application/json"}
        event = chance.choices([make for _, make in EVENTS], [weight for weight, _ in EVENTS])[0](chance)
        if self._is_streaming(name):
            event, kind = {"chunks": chance.randint(0, 50)}, "stream"
            path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
        elif chance.random() < 0.1:
            event.pop("payload", None)  # an event is at most 1 MB
            headers["X-Amz-Invocation-Type"], kind = "Event", "event"
        connection.request("POST", path, json.dumps(event), headers)
        answer = connection.getresponse()
        answer.read()
        failed = " failed" if answer.headers.get("X-Amz-Function-Error") else ""
        return f"{kind} {answer.status}{failed}"

    # Changes ----------------------------------------------------------------------------------------------------------

    def _operate_on(self) -> None:
        chance, client = random.Random("operator"), self._service.client()
        changes = (self._update_code, self._configure, self._publish, self._replace)
        while time.monotonic() < self._ends:
            change = chance.choice(changes)
            try:
                change(client, chance.choice(self._names), chance)
                self.outcomes[change.__name__.strip("_")] += 1
            except ClientError as exc:
                self.outcomes[f"{change.__name__.strip('_')} {exc.response['Error']['Code']}"] += 1
            time.sleep(chance.expovariate(1.0))

    def _update_code(self, client: Any, name: str, chance: random.Random) -> None:
        code = STREAMING if self._is_streaming(name) else CODE
        package = make_zip({"app.py": f"{code}\n# {chance.random()}\n"})
        client.update_function_code(FunctionName=name, ZipFile=package)

    def _configure(self, client: Any, name: str, chance: random.Random) -> None:
        variables = {"Variables": {"NUMBER": str(chance.random())}}
        client.update_function_configuration(FunctionName=name, Environment=variables)

    def _publish(self, client: Any, name: str, _: random.Random) -> None:
        version = client.publish_version(FunctionName=name)["Version"]
        client.invoke(FunctionName=f"{name}:{version}", Payload=b"{}")["Payload"].read()
        client.delete_function(FunctionName=name, Qualifier=version)

    def _replace(self, client: Any, name: str, chance: random.Random) -> None:
        client.delete_function(FunctionName=name)
        self._deploy(client, name, chance)


class Watch:
    """Samples in a thread of its own."""

    def __init__(self, handles: Handles) -> None:
        self.samples: list[Sample] = []
        self._handles = handles
        self._started = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._is_over.wait(_SAMPLE_S):
            self.samples.append({"s": round(time.monotonic() - self._started, 1), **self._handles.sample()})

    def end(self) -> list[Sample]:
        self._is_over.set()
        self._thread.join()
        return self.samples


def quiet(handles: Handles) -> Sample:
    """What is held once nothing happens any more: the same for a while, or what there is after two minutes."""
    deadline = time.monotonic() + _GONE_S
    since, last = time.monotonic(), handles.sample()
    while time.monotonic() - since < _QUIET_S and time.monotonic() < deadline:
        time.sleep(1.0)
        sample = handles.sample()
        if sample["sandboxes"] != last["sandboxes"] or sample["cgroups"] != last["cgroups"]:
            since = time.monotonic()
        last = sample
    return last


def leaks(before: Sample, after: Sample, samples: Sequence[Sample]) -> list[str]:
    """What grew: nothing counted may be more than before, and no memory more than a little."""
    found = [
        f"{name}: {before[name]:g} before, {held:g} after"
        for name, held in after.items()
        if held > before[name] + _tolerated(name, before[name])
    ]
    for name in [name for name in after if name.startswith(_MEMORY) and len(samples) > 3]:
        _, second, _, last = _by_quarter(samples, name)
        if last > second + _tolerated(name, second):
            found.append(f"{name}: {second} in the second quarter, {last} in the last")
    return found


def _by_quarter(samples: Sequence[Sample], name: str) -> list[float]:
    parts = [samples[len(samples) * part // 4 : len(samples) * (part + 1) // 4] for part in range(4)]
    return [round(fmean(one[name] for one in part), 1) for part in parts if part]


def _tolerated(name: str, held: float) -> float:
    if name.startswith(_MEMORY):
        return max(_GROWTH_MIB, _GROWTH_SHARE * held)
    return _POOLED_THREADS if name.startswith(_THREADS) else 0


def _runtimes(service: RunningService) -> list[str]:
    host = service.endpoint_url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", "/_lambent/runtimes")
    found = [one["runtime"] for one in json.load(connection.getresponse())]
    connection.close()
    return sorted({runtime for runtime in found if runtime.startswith("python")})


def main() -> int:
    arguments = _parse()
    with tempfile.TemporaryDirectory(prefix="lambent-soak-") as folder:
        data_dir = Path(folder, "data")
        with running_service(data_dir, *_OPTIONS, spare_sandboxes=_SPARE_SANDBOXES) as service:
            handles, soak = Handles(service.process.pid, data_dir), Soak(service, arguments.functions)
            soak.deploy_all()
            soak.run(min(_WARM_UP_S, 60 * arguments.minutes))
            soak.delete_all()
            before = quiet(handles)
            soak.deploy_all()
            watch = Watch(handles)
            soak.run(60 * arguments.minutes)
            samples = watch.end()
            soak.delete_all()
            after = quiet(handles)
        log = Path(folder, "data.log").read_text()
    told = {
        "minutes": arguments.minutes,
        "outcomes": dict(sorted(soak.outcomes.items())),
        "before": before,
        "most": {name: max(sample[name] for sample in samples) for name in after},
        "after": after,
        "means by quarter": {name: _by_quarter(samples, name) for name in after if name.startswith(_MEMORY)},
        "leaks": leaks(before, after, samples),
        "broken": [f"{count} × {outcome}" for outcome, count in soak.outcomes.items() if _is_broken(outcome)],
        "errors logged": sorted({line for line in log.splitlines() if '"level":"error"' in line})[:20],
    }
    print(json.dumps(told, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps({**told, "samples": samples}))
    is_clean = not (told["leaks"] or told["broken"])
    print("nothing is left behind" if is_clean else "NOT CLEAN")
    return 0 if is_clean else 1


def _is_broken(outcome: str) -> bool:
    return outcome.startswith("broken") or " 50" in outcome


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--functions", type=int, default=100)
    parser.add_argument("--json", type=Path, help="where to write all samples")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
