"""Layers as a function sees them: merged into /opt, on the paths, and there to wrap or to be its runtime."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lambent.testing.service import make_zip

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="real sandboxes are tested as root")

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]
Layer = Callable[..., str]

_numbers = itertools.count()


@pytest.fixture
def layer(client: Any) -> Iterator[Layer]:
    """Publishes layers of their own name; returns the version's ARN."""
    published: list[tuple[str, int]] = []

    def make(files: Mapping[str, str | bytes], *executable: str) -> str:
        content = {"ZipFile": make_zip(files, executable=executable)}
        answer = client.publish_layer_version(LayerName=f"test-{next(_numbers)}", Content=content)
        published.append((answer["LayerArn"], answer["Version"]))
        return str(answer["LayerVersionArn"])

    yield make
    for name, number in published:
        client.delete_layer_version(LayerName=name, VersionNumber=number)


def test_later_layers_lie_over_earlier_ones_and_code_over_all(function: Function, invoke: Invoke, layer: Layer) -> None:
    below = layer({"python/a.py": "x = 'below'", "python/b.py": "x = 'below'", "python/c.py": "x = 'below'"})
    above = layer({"python/b.py": "x = 'above'", "python/c.py": "x = 'above'", "data/file": "here"})
    code = "import a, b, c, os\ndef handler(event, context):\n    return [a.x, b.x, c.x, sorted(os.listdir('/opt'))]\n"
    name = function({"app.py": code, "c.py": "x = 'code'"}, Layers=[below, above])

    assert invoke(name)[0] == ["below", "above", "code", ["data", "python"]]


def test_site_packages_of_the_right_version_come_before_the_layers_python_folder(
    function: Function, invoke: Invoke, layer: Layer
) -> None:
    versioned = {f"python/lib/python3.{minor}/site-packages/m.py": f"x = {minor}" for minor in range(8, 15)}
    arn = layer({**versioned, "python/m.py": "x = 'unversioned'", "python/only.py": "x = 'only'"})
    code = (
        "import m, only, sys\ndef handler(event, context):\n    return [m.x == sys.version_info[1], only.x, sys.path]\n"
    )
    is_own, only, path = invoke(function(code, Layers=[arn]))[0]

    assert (is_own, only) == (True, "only")
    assert path[:3] == ["/var/task", path[1], "/opt/python"]
    assert path[1].endswith("/site-packages")


def test_programs_and_libraries_of_a_layer_are_found(function: Function, invoke: Invoke, layer: Layer) -> None:
    arn = layer({"bin/greet": "#!/bin/sh\necho hello from a layer\n", "lib/libx.so": "x"}, "bin/greet")
    code = (
        "import os, subprocess\ndef handler(event, context):\n"
        "    said = subprocess.run(['greet'], capture_output=True, text=True).stdout\n"
        "    libraries = os.environ['LD_LIBRARY_PATH'].split(':')\n"
        "    return [said, any(os.path.exists(one + '/libx.so') for one in libraries)]\n"
    )

    assert invoke(function(code, Layers=[arn]))[0] == ["hello from a layer\n", True]


def test_opt_is_read_only_and_the_next_update_changes_it(
    client: Any, function: Function, invoke: Invoke, layer: Layer
) -> None:
    code = (
        "import os\ndef handler(event, context):\n    try: open('/opt/x', 'w')\n"
        "    except OSError as error: return [error.errno == 30, sorted(os.listdir('/opt'))]\n"
    )
    name = function(code, Layers=[layer({"one": "1"}), layer({"two": "2"})])
    before = invoke(name)[0]
    client.update_function_configuration(FunctionName=name, Layers=[layer({"three": "3"})])
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})

    assert before == [True, ["one", "two"]]
    assert invoke(name)[0] == [True, ["three"]]


def test_a_function_runs_with_a_layer_that_was_deleted(
    client: Any, function: Function, invoke: Invoke, layer: Layer
) -> None:
    arn = layer({"python/gone.py": "x = 'still here'"})
    name = function("import gone\ndef handler(event, context):\n    return gone.x\n", Layers=[arn])
    client.delete_layer_version(LayerName=arn.rpartition(":")[0], VersionNumber=1)

    assert invoke(name)[0] == "still here"


def test_a_layers_bootstrap_runs_an_os_only_function(function: Function, invoke: Invoke, layer: Layer) -> None:
    bootstrap = (
        "#!/bin/sh\nwhile true; do\n"
        '  id=$(curl -sD - -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next" |'
        " tr -d '\\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip')\n"
        "  curl -s -d '\"from a layer\"' "
        '"http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" > /dev/null\n'
        "done\n"
    )
    arn = layer({"bootstrap": bootstrap}, "bootstrap")

    assert invoke(function({"data": "x"}, Runtime="provided.al2023", Layers=[arn], Timeout=10))[0] == "from a layer"


def test_a_wrapper_script_starts_the_runtime(function: Function, invoke: Invoke, layer: Layer) -> None:
    wrapper = '#!/bin/sh\nexport WRAPPED="$1"\nexec "$@"\n'
    arn = layer({"wrapper": wrapper}, "wrapper")
    code = "import os\ndef handler(event, context):\n    return os.path.basename(os.environ['WRAPPED'])\n"
    name = function(code, Layers=[arn], Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}})

    assert invoke(name)[0].startswith("python3")


@pytest.mark.parametrize(("wrapper", "status"), [("/opt/missing", 127), ("/opt/data", 126)])
def test_a_wrapper_that_cannot_run_is_an_exit_of_the_runtime(
    function: Function, invoke: Invoke, layer: Layer, wrapper: str, status: int
) -> None:
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": wrapper}
    name = function(
        "def handler(event, context): pass", Layers=[layer({"data": "x"})], Environment={"Variables": variables}
    )

    error, response = invoke(name)

    assert response["FunctionError"] == "Unhandled"
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith(f"Runtime exited with error: exit status {status}")
