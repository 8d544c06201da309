"""Functions through boto3 against the whole service: what unit tests of the parts cannot see."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from lambent.testing.service import ROLE, deploy, make_zip, running_service

Invoke = Callable[..., tuple[Any, dict[str, Any]]]
Function = Callable[..., str]


def returning(value: object) -> str:
    return f"def handler(event, context):\n    return {value!r}\n"


def test_the_code_location_gives_the_package_back(client: Any, function: Function) -> None:
    package = make_zip({"app.py": returning(1)})
    name = function(package)

    found = client.get_function(FunctionName=name)
    with urllib.request.urlopen(found["Code"]["Location"]) as answer:
        downloaded = answer.read()

    assert downloaded == package
    assert found["Configuration"]["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()


def test_a_code_location_that_was_tampered_with_is_refused(client: Any, function: Function) -> None:
    location = client.get_function(FunctionName=function(returning(1)))["Code"]["Location"]

    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(location.replace("Expires=", "Expires=9"))
    assert error.value.code == 403
    error.value.close()


def test_an_update_is_served_once_it_was_successful(client: Any, function: Function, invoke: Invoke) -> None:
    name = function(returning("old"))
    assert invoke(name)[0] == "old"
    client.publish_version(FunctionName=name)

    client.update_function_code(FunctionName=name, ZipFile=make_zip({"app.py": returning("new")}))
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})

    assert invoke(name)[0] == "new"
    assert invoke(f"{name}:1")[0] == "old"


def test_environment_variables_reach_the_function_and_reserved_ones_are_refused(
    client: Any, function: Function, invoke: Invoke
) -> None:
    code = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
    name = function(code, Environment={"Variables": {"NAME": "välue", "TZ": "Europe/Berlin"}}, MemorySize=256)

    seen = invoke(name)[0]

    assert seen["NAME"] == "välue"
    assert seen["TZ"] == "Europe/Berlin"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert seen["LAMBDA_TASK_ROOT"] == "/var/task"
    assert seen["_HANDLER"] == "app.handler"
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    with pytest.raises(botocore.exceptions.ClientError, match="reserved keys"):
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {"AWS_REGION": "x"}})


def test_a_runtime_that_is_not_installed_warns_at_creation(client: Any) -> None:
    created = client.create_function(
        FunctionName="warned",
        Runtime="java21",
        Role=ROLE,
        Handler="a.B::c",
        Code={"ZipFile": make_zip({"a": ""})},
    )
    try:
        assert "java21" in created["ResponseMetadata"]["HTTPHeaders"]["x-lambent-warning"]
    finally:
        client.get_waiter("function_active_v2").wait(FunctionName="warned", WaiterConfig={"Delay": 0.05})
        client.delete_function(FunctionName="warned")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
class TestDiskFull:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        disk = tmp_path / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(disk)], check=True)
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)

    def test_a_full_disk_is_a_5xx_and_leaves_nothing_half_written(self, small_disk: Path) -> None:
        with running_service(small_disk / "data", "--egress", "none") as service:
            client = service.client()
            deploy(client, "before", returning("before"))
            client.invoke(FunctionName="before")
            filler = small_disk / "filler"
            filled = subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64K"], capture_output=True, text=True)
            assert "No space left" in filled.stderr
            with pytest.raises(botocore.exceptions.ClientError) as error:
                deploy(client, "during", {"app.py": returning("x"), "ballast": os.urandom(2_000_000)})
            assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
            assert json.loads(client.invoke(FunctionName="before")["Payload"].read()) == "before"
            filler.unlink()
            assert [one["FunctionName"] for one in client.list_functions()["Functions"]] == ["before"]
            deploy(client, "after", returning("after"))
            assert json.loads(client.invoke(FunctionName="after")["Payload"].read()) == "after"


def test_packages_come_from_an_s3_compatible_store(
    tmp_path: Path, moto: str, peer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("real sandboxes are tested as root")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with running_service(tmp_path / "data", "--egress", "none", "--endpoint", f"s3={moto}") as service:
        s3 = peer("s3")
        s3.create_bucket(Bucket="packages")
        s3.put_object(Bucket="packages", Key="f.zip", Body=make_zip({"app.py": returning("from s3")}))
        client = service.client()
        deploy(client, "f", "", Code={"S3Bucket": "packages", "S3Key": "f.zip"})
        assert json.loads(client.invoke(FunctionName="f")["Payload"].read()) == "from s3"
        with pytest.raises(botocore.exceptions.ClientError) as no_key:
            client.update_function_code(FunctionName="f", S3Bucket="packages", S3Key="nothing.zip")
        with pytest.raises(botocore.exceptions.ClientError) as no_bucket:
            deploy(client, "g", "", Code={"S3Bucket": "nowhere", "S3Key": "f.zip"})
        assert [error.value.response["Error"] for error in (no_key, no_bucket)] == [
            {
                "Code": "InvalidParameterValueException",
                "Message": f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}",
            }
            for code, message in (
                ("NoSuchKey", "The specified key does not exist."),
                ("NoSuchBucket", "The specified bucket does not exist"),
            )
        ]
