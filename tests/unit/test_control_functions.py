"""Functions: what is answered, refused and stored; every message is AWS's (reference/api.md §3)."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from control_world import ARN, CALLER, ROLE, RUNTIMES, World, zip_of

from lambent.control import answers
from lambent.model import limits
from lambent.model.errors import (
    AccessDenied,
    ApiError,
    CodeStorageExceeded,
    InvalidParameterValue,
    PlatformError,
    PreconditionFailed,
    RequestEntityTooLarge,
    ResourceConflict,
    ResourceNotFound,
    ValidationError,
)
from lambent.model.function import State, UpdateStatus, function_key, version_key
from lambent.model.package import BadPackage
from lambent.model.records import decode_function
from lambent.ports.store import Revision, WriteFailed

PENDING = "The operation cannot be performed at this time. The function is currently in the following state: Pending"
IN_PROGRESS = f"The operation cannot be performed at this time. An update is in progress for resource: {ARN}"
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
    "the latest Revision Id"
)
UNQUALIFIED_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)
MANDATORY = "Runtime and Handler are mandatory parameters for functions created with deployment packages."


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World().running() as running:
        yield running


async def refusal(world: World, kind: type[ApiError], operation: str, **members: Any) -> str:
    with pytest.raises(kind) as refused:
        await world.call(operation, **members)
    assert type(refused.value) is kind
    assert refused.value.message is not None
    return refused.value.message


async def create_refusal(world: World, kind: type[ApiError], name: str = "f", **members: Any) -> str:
    """A refused creation leaves nothing behind."""
    with pytest.raises(kind) as refused:
        await world.create(name, **members)
    assert type(refused.value) is kind
    assert refused.value.message is not None
    assert await world.store.scan("") == []
    assert world.blobs.kept == {}
    return refused.value.message


class TestCreate:
    async def test_a_new_function_is_answered_as_aws_recorded_it(self, world: World) -> None:
        code = zip_of()
        created = await world.create()
        assert len(created.pop("ConfigSha256")) == 64  # newer than the recording
        assert created == {
            "Architectures": ["x86_64"],
            "CodeSha256": b64encode(hashlib.sha256(code).digest()).decode(),
            "CodeSize": len(code),
            "Description": "",
            "EphemeralStorage": {"Size": 512},
            "FunctionArn": ARN,
            "FunctionName": "f",
            "Handler": "app.handler",
            "LastModified": "2024-01-01T00:00:00.000+0000",
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
            "MemorySize": 128,
            "PackageType": "Zip",
            "RevisionId": "revision-1",
            "Role": ROLE,
            "Runtime": "python3.12",
            "RuntimeVersionConfig": {
                "RuntimeVersionArn": "arn:aws:lambda:eu-west-1::runtime:"
                + hashlib.sha256(b"lambent python3.12").hexdigest()
            },
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
            "Timeout": 3,
            "TracingConfig": {"Mode": "PassThrough"},
            "Version": "$LATEST",
        }

    async def test_it_becomes_active_and_successful_with_a_new_revision(self, world: World) -> None:
        configuration = await world.created()
        assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
        assert "StateReason" not in configuration
        assert configuration["RevisionId"] != "revision-1"

    async def test_every_given_member_is_kept(self, world: World) -> None:
        given = {
            "Description": "d",
            "Timeout": 900,
            "MemorySize": 10_240,
            "Environment": {"Variables": {"A": "1"}},
            "EphemeralStorage": {"Size": 10_240},
            "TracingConfig": {"Mode": "PassThrough"},
        }
        configuration = await world.created(
            **given, LoggingConfig={"LogFormat": "Text", "LogGroup": "/mine"}, Architectures=["x86_64"]
        )
        assert given.items() <= configuration.items()
        assert configuration["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/mine"}

    async def test_json_logs_have_levels_info_where_none_is_given(self, world: World) -> None:
        logging = {"LogFormat": "JSON", "SystemLogLevel": "WARN"}

        configuration = await world.created(LoggingConfig=logging, TracingConfig={"Mode": "Active"})

        shown = {**logging, "ApplicationLogLevel": "INFO", "LogGroup": "/aws/lambda/f"}
        assert configuration["LoggingConfig"] == shown
        assert configuration["TracingConfig"] == {"Mode": "Active"}
        answer = await world.call("UpdateFunctionConfiguration", FunctionName="f", LoggingConfig={"LogFormat": "Text"})
        assert answer["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}
        assert answer["TracingConfig"] == {"Mode": "Active"}

    async def test_publishing_at_once_makes_version_1_pending_then_active(self, world: World) -> None:
        world.may_activate.clear()
        answer = await world.create(Publish=True)
        assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("1", ARN, "Pending")
        world.may_activate.set()
        await world.settled()
        version = await world.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
        assert (version["State"], version["LastUpdateStatus"], version["FunctionArn"]) == (
            "Active",
            "Successful",
            f"{ARN}:1",
        )

    async def test_a_runtime_that_is_not_installed_carries_a_warning(self, world: World) -> None:
        assert (await world.create("n", Runtime="nodejs22.x"))["_Warning"] == "no node here"
        assert "_Warning" not in await world.create("p")

    async def test_an_arn_is_as_good_as_a_name(self, world: World) -> None:
        assert (await world.create(ARN))["FunctionName"] == "f"

    async def test_an_existing_name_is_refused_and_its_code_left_alone(self, world: World) -> None:
        before = await world.created()
        with pytest.raises(ResourceConflict, match=r"^Function already exist: f$"):
            await world.create(Code={"ZipFile": zip_of("other")})
        assert await world.call("GetFunctionConfiguration", FunctionName="f") == before
        assert len(world.blobs.kept) == 1

    async def test_of_many_creations_of_one_name_one_wins(self, world: World) -> None:
        outcomes = await asyncio.gather(
            *(world.create(Code={"ZipFile": zip_of(str(n))}) for n in range(10)), return_exceptions=True
        )
        assert sum(isinstance(outcome, ResourceConflict) for outcome in outcomes) == 9
        await world.settled()
        assert len(world.blobs.kept) == 1

    async def test_a_name_longer_than_64_is_refused(self, world: World) -> None:
        name = "x" * 65
        assert await create_refusal(world, InvalidParameterValue, name) == (
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            "Member must have length less than or equal to 64"
        )
        await world.create("x" * 64)

    async def test_a_qualified_name_is_refused(self, world: World) -> None:
        assert await create_refusal(world, InvalidParameterValue, "f:1") == UNQUALIFIED_ONLY

    async def test_the_arn_of_another_account_is_not_ours_to_create(self, world: World) -> None:
        foreign = ARN.replace("000000000000", "111111111111")
        assert await create_refusal(world, AccessDenied, foreign) == (
            "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:CreateFunction on resource: "
            f"{foreign} because no resource-based policy allows the lambda:CreateFunction action"
        )

    async def test_the_arn_of_another_region_is_not_reachable(self, world: World) -> None:
        assert await create_refusal(world, ResourceNotFound, ARN.replace("eu-west-1", "us-east-1")) == (
            "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
        )

    @pytest.mark.parametrize(
        ("members", "kind", "message"),
        [
            ({"Runtime": None}, InvalidParameterValue, MANDATORY),
            ({"Handler": None}, InvalidParameterValue, MANDATORY),
            (
                {"Runtime": "cobol85"},
                InvalidParameterValue,
                "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
                f"[{', '.join(RUNTIMES)}] or be a valid ARN",
            ),
            (
                {"Runtime": "python2.7"},
                InvalidParameterValue,
                "The runtime parameter of python2.7 is no longer supported for creating or updating AWS Lambda "
                "functions. We recommend you use a supported runtime while creating or updating functions.",
            ),
            (
                {"PackageType": "Image", "Code": {"ImageUri": "i"}},
                InvalidParameterValue,
                "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
            ),
            (
                {"PackageType": "Image", "Runtime": None, "Handler": None},
                InvalidParameterValue,
                "Please provide a source for function code.",
            ),
            (
                {"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::bucket"}},
                InvalidParameterValue,
                "DeadLetterConfig.TargetArn must be the ARN of a standard SQS queue or SNS topic, found "
                "arn:aws:s3:::bucket",
            ),
            (
                {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:eu-west-1:000000000000:q.fifo"}},
                InvalidParameterValue,
                "DeadLetterConfig.TargetArn must be the ARN of a standard SQS queue or SNS topic, found "
                "arn:aws:sqs:eu-west-1:000000000000:q.fifo",
            ),
            (
                {"MemorySize": 10_241},
                InvalidParameterValue,
                "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
            ),
            (
                {"Timeout": 901},
                ValidationError,
                "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: "
                "Member must have value less than or equal to 900",
            ),
            (
                {"EphemeralStorage": {"Size": 10_241}},
                ValidationError,
                "1 validation error detected: Value '10241' at 'ephemeralStorage.size' failed to satisfy constraint: "
                "Member must have value less than or equal to 10240",
            ),
            (
                {"Environment": {"Variables": {"AWS_REGION": "x", "OK": "y", "_HANDLER": "z"}}},
                InvalidParameterValue,
                "Lambda was unable to configure your environment variables because the environment variables you have "
                "provided contains reserved keys that are currently not supported for modification. "
                "Reserved keys used in this request: AWS_REGION, _HANDLER",
            ),
            (
                {"Environment": {"Variables": {"A": "x" * 4_089}}},
                InvalidParameterValue,
                "Lambda was unable to configure your environment variables because the environment variables you have "
                'provided exceeded the 4KB limit. String measured: {"A":"' + "x" * 4_089 + '"}',
            ),
            (
                {"LoggingConfig": {"ApplicationLogLevel": "DEBUG"}},
                InvalidParameterValue,
                'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or '
                'change the LogFormat to "JSON" and try again.',
            ),
            ({"Code": {}}, InvalidParameterValue, "Please provide a source for function code."),
            ({"Code": {"S3Bucket": "b"}}, InvalidParameterValue, "Please provide a source for function code."),
            (
                {"Code": {"ZipFile": zip_of(), "S3Bucket": "b", "S3Key": "k"}},
                InvalidParameterValue,
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            ),
            (
                {"Code": {"ZipFile": b"no zip"}},
                InvalidParameterValue,
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            ),
            (
                {"Code": {"ZipFile": bytes(limits.ZIPPED_CODE_BYTES + 1)}},
                RequestEntityTooLarge,
                "Zipped size must be smaller than 52428800 bytes",
            ),
            (
                {"Code": {"S3Bucket": "b", "S3Key": "k"}},
                InvalidParameterValue,
                "Error occurred while GetObject. S3 Error Code: NoSuchKey.",
            ),
            (
                {"Tags": {str(n): "" for n in range(51)}},
                InvalidParameterValue,
                "Number of tags exceeds resource tag limit.",
            ),
            (
                {"Tags": {"aws:x": ""}},
                InvalidParameterValue,
                "Tag key 'aws:x' is not allowed: the prefix aws: is reserved for AWS.",
            ),
            (
                {"Architectures": ["arm64"]},
                InvalidParameterValue,
                "Architectures [arm64] cannot run on this host, which runs [x86_64]. See docs/compatibility.md",
            ),
        ],
    )
    async def test_what_aws_refuses_is_refused_in_its_words(
        self, world: World, members: dict[str, Any], kind: type[ApiError], message: str
    ) -> None:
        assert await create_refusal(world, kind, **members) == message

    async def test_exactly_4_kb_of_variables_are_taken(self, world: World) -> None:
        await world.create(Environment={"Variables": {"A": "x" * 4_088}})

    @pytest.mark.parametrize(
        ("members", "parameter"),
        [
            (
                {"PackageType": "Image", "Code": {"ImageUri": "i"}, "Runtime": None, "Handler": None},
                "PackageType Image",
            ),
            ({"Code": {"ImageUri": "i"}}, "PackageType Image"),
            ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "VpcConfig"),
            ({"FileSystemConfigs": [{"Arn": "a", "LocalMountPath": "/mnt/x"}]}, "FileSystemConfigs"),
            ({"KMSKeyArn": "arn:aws:kms:eu-west-1:000000000000:key/k"}, "KMSKeyArn"),
            ({"ImageConfig": {"Command": ["x"]}}, "ImageConfig"),
            (
                {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {"A": "b"}}},
                "CapacityProviderConfig",
            ),
            ({"DurableConfig": {"ExecutionTimeout": 1}}, "DurableConfig"),
            ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "TenancyConfig"),
            ({"PublishTo": "LATEST_PUBLISHED"}, "PublishTo"),
            ({"SomethingOfNextYear": {"Limit": 0}}, "SomethingOfNextYear"),
            ({"Code": {"ZipFile": zip_of(), "SourceKMSKeyArn": "arn"}}, "Code.SourceKMSKeyArn"),
            (
                {"Code": {"S3Bucket": "b", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"}},
                "S3ObjectStorageMode REFERENCE",
            ),
            ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart.ApplyOn PublishedVersions"),
        ],
    )
    async def test_what_lambent_does_not_do_is_refused_by_name(
        self, world: World, members: dict[str, Any], parameter: str
    ) -> None:
        assert await create_refusal(world, InvalidParameterValue, **members) == (
            f"Lambent does not support {parameter} yet: remove it from the request. See docs/compatibility.md"
        )

    async def test_members_that_say_nothing_are_taken_as_clients_send_them(self, world: World) -> None:
        await world.create(
            VpcConfig={"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False},
            FileSystemConfigs=[],
            Layers=[],
            DeadLetterConfig={"TargetArn": ""},
            KMSKeyArn="",
            SnapStart={"ApplyOn": "None"},
            Environment={"Variables": {}},
            PackageType="Zip",
            Code={"ZipFile": zip_of(), "S3ObjectStorageMode": "COPY"},
        )

    async def test_a_dead_letter_target_is_kept_shown_and_cleared(self, world: World) -> None:
        target = {"TargetArn": "arn:aws:sns:eu-west-1:000000000000:topic"}
        assert (await world.created(DeadLetterConfig=target))["DeadLetterConfig"] == target
        update = {"FunctionName": "f", "DeadLetterConfig": {"TargetArn": ""}}
        assert "DeadLetterConfig" not in await world.call("UpdateFunctionConfiguration", **update)

    async def test_equal_configurations_have_one_digest(self, world: World) -> None:
        first = (await world.created("f"))["ConfigSha256"]
        changed = await world.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=4)
        assert changed["ConfigSha256"] != first
        await world.settled()
        again = await world.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=3)
        assert again["ConfigSha256"] == first

    async def test_code_comes_from_s3_too(self, world: World) -> None:
        world.objects.objects["b", "k", "v"] = zip_of("from s3")
        configuration = await world.created(Code={"S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v"})
        assert configuration["CodeSha256"] == b64encode(hashlib.sha256(zip_of("from s3")).digest()).decode()

    async def test_code_storage_is_counted_by_version_and_bounded(self) -> None:
        async with World().running(code_storage_bytes=2 * len(zip_of())) as world:
            await world.create("a")
            with pytest.raises(CodeStorageExceeded, match=r"^Code storage limit exceeded\.$"):
                await world.create("b", Publish=True)
            await world.create("b")
            await world.settled()
            with pytest.raises(CodeStorageExceeded):
                await world.call("PublishVersion", FunctionName="a")
            await world.call("DeleteFunction", FunctionName="b")
            await world.call("PublishVersion", FunctionName="a")

    async def test_a_write_that_fails_leaves_no_package_behind(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def full(*args: object, **options: object) -> Revision:
            raise WriteFailed("disk full")

        monkeypatch.setattr(world.store, "put", full)
        with pytest.raises(WriteFailed):
            await world.create()
        assert world.blobs.kept == {}


class TestActivation:
    async def test_a_failed_activation_is_told_with_its_reason(self, world: World) -> None:
        world.activation_error = PlatformError("the code cache is full")
        configuration = await world.created(Publish=True)
        assert configuration["State"] == "Failed"
        assert configuration["StateReason"] == "the code cache is full"
        assert configuration["StateReasonCode"] == "InternalError"
        version = await world.call("GetFunctionConfiguration", FunctionName="f", Qualifier="1")
        assert version["State"] == "Failed"
        assert await refusal(world, ResourceConflict, "PublishVersion", FunctionName="f") == (
            "The operation cannot be performed at this time. The function is currently in the following state: Failed"
        )

    async def test_new_code_heals_a_failed_function(self, world: World) -> None:
        world.activation_error = BadPackage("bad")
        assert (await world.created())["StateReasonCode"] == "InvalidZipFileException"
        world.activation_error = None
        answer = await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("good"))
        assert answer["State"] == "Pending"
        await world.settled()
        assert (await world.call("GetFunctionConfiguration", FunctionName="f"))["State"] == "Active"

    async def test_a_failed_update_leaves_the_configuration_before_it_serving(self, world: World) -> None:
        await world.created()
        world.activation_error = PlatformError("disk full")
        await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"))
        await world.settled()
        configuration = await world.call("GetFunctionConfiguration", FunctionName="f")
        assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Failed")
        assert configuration["LastUpdateStatusReason"] == "disk full"
        record = await stored(world)
        assert record.serving is not None
        assert record.serving.code_blob == hashlib.sha256(zip_of()).hexdigest()
        assert set(world.blobs.kept) == {record.serving.code_blob, record.latest.code_blob}
        await world.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=4)
        assert (await stored(world)).serving == record.serving

    async def test_what_a_killed_server_began_is_resumed_and_its_orphans_removed(self) -> None:
        world = World()
        world.may_activate.clear()
        async with world.running():
            await world.create("pending", Publish=True)
            await world.create("gone")
        orphan = version_key(CALLER.account, CALLER.region, "gone", 7)
        entry = await world.store.get(version_key(CALLER.account, CALLER.region, "pending", 1))
        assert entry is not None
        await world.store.put(orphan, entry.value)
        world.may_activate.set()
        async with world.running():
            await world.settled()
            assert await world.store.get(orphan) is None
            for qualifier in ("$LATEST", "1"):
                version = await world.call("GetFunctionConfiguration", FunctionName="pending", Qualifier=qualifier)
                assert version["State"] == "Active"
            usage = (await world.call("GetAccountSettings"))["AccountUsage"]
            assert usage == {"TotalCodeSize": 3 * len(zip_of()), "FunctionCount": 2}

    async def test_a_function_deleted_while_it_was_activated_stays_deleted(self, world: World) -> None:
        world.may_activate.clear()
        await world.create()
        world.time += 361
        await world.call("DeleteFunction", FunctionName="f")
        world.may_activate.set()
        await world.settled()
        assert await world.store.scan("") == []

    async def test_a_state_that_could_not_be_stored_is_stored_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lambent.control.activation._RETRY_AFTER_S", 0)
        world.may_activate.clear()
        await world.create()
        put, failures = world.store.put, iter([WriteFailed("full"), WriteFailed("full")])

        async def sometimes(key: str, value: bytes, *, expected: Revision | None = None) -> Revision:
            for failure in failures:
                raise failure
            return await put(key, value, expected=expected)

        monkeypatch.setattr(world.store, "put", sometimes)
        world.may_activate.set()
        await world.settled()
        assert (await world.call("GetFunctionConfiguration", FunctionName="f"))["State"] == "Active"


async def stored(world: World, name: str = "f") -> Any:
    entry = await world.store.get(function_key(CALLER.account, CALLER.region, name))
    assert entry is not None
    return decode_function(entry.value)


class TestRead:
    async def test_get_function_gives_a_url_tags_and_reserved_concurrency(self, world: World) -> None:
        await world.created(Tags={"team": "a"})
        await world.call("PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=5)
        answer = await world.call("GetFunction", FunctionName="f")
        blob = hashlib.sha256(zip_of()).hexdigest()
        assert answer["Code"] == {
            "RepositoryType": "S3",
            "Location": f"http://127.0.0.1:9400/_lambent/code/000000000000/{blob}?signed",
        }
        assert answer["Tags"] == {"team": "a"}
        assert answer["Concurrency"] == {"ReservedConcurrentExecutions": 5}
        assert answer["Configuration"] == await world.call("GetFunctionConfiguration", FunctionName="f")

    async def test_tags_and_concurrency_are_absent_where_there_are_none(self, world: World) -> None:
        await world.created()
        assert (await world.call("GetFunction", FunctionName="f")).keys() == {"Configuration", "Code"}

    @pytest.mark.parametrize("operation", ["GetFunction", "GetFunctionConfiguration"])
    async def test_the_arn_ends_as_the_caller_wrote_it(self, world: World, operation: str) -> None:
        await world.created(Publish=True)
        await world.call("CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")

        async def arn_and_version(name: str, **members: str) -> tuple[str, str]:
            answer = await world.call(operation, FunctionName=name, **members)
            configuration = answer.get("Configuration", answer)
            return configuration["FunctionArn"], configuration["Version"]

        assert await arn_and_version("f") == (ARN, "$LATEST")
        assert await arn_and_version("f", Qualifier="$LATEST") == (f"{ARN}:$LATEST", "$LATEST")
        assert await arn_and_version("f:1") == (f"{ARN}:1", "1")
        assert await arn_and_version(ARN, Qualifier="live") == (f"{ARN}:live", "1")

    @pytest.mark.parametrize("operation", ["GetFunction", "GetFunctionConfiguration", "DeleteFunction"])
    async def test_an_unknown_function_is_quoted_as_it_was_named(self, world: World, operation: str) -> None:
        unknown = ARN[:-1] + "x" * 70
        assert (
            await refusal(world, ResourceNotFound, operation, FunctionName="x" * 70) == f"Function not found: {unknown}"
        )
        message = await refusal(world, ResourceNotFound, operation, FunctionName="f", Qualifier="1")
        assert message == f"Function not found: {ARN}:1"

    @pytest.mark.parametrize("qualifier", ["9", "01", "nope", "$latest", "$LATEST.PUBLISHED"])
    async def test_an_unknown_version_or_alias_is_quoted_with_its_qualifier(self, world: World, qualifier: str) -> None:
        await world.created(Publish=True)
        message = await refusal(world, ResourceNotFound, "GetFunction", FunctionName="f", Qualifier=qualifier)
        assert message == f"Function not found: {ARN}:{qualifier}"

    async def test_nothing_leaks_across_accounts_and_regions(self, world: World) -> None:
        await world.created()
        for other in (replace(CALLER, account="111111111111"), replace(CALLER, region="us-east-1")):
            with pytest.raises(ResourceNotFound):
                await world.call("GetFunction", other, FunctionName="f")
            assert (await world.call("ListFunctions", other))["Functions"] == []
        with pytest.raises(AccessDenied, match="lambda:GetFunction on resource"):
            await world.call("GetFunction", replace(CALLER, account="111111111111"), FunctionName=ARN)


class TestList:
    async def test_a_list_has_no_state_and_no_runtime_version(self, world: World) -> None:
        await world.created()
        (listed,) = (await world.call("ListFunctions"))["Functions"]
        assert listed["FunctionArn"] == ARN
        assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & listed.keys()

    async def test_pages_hold_fifty_at_most_and_follow_each_other_without_gaps(self, world: World) -> None:
        names = [f"f{n:03}" for n in range(120)]
        await asyncio.gather(*(world.create(name) for name in names))
        seen: list[str] = []
        sizes: list[int] = []
        marker: dict[str, str] = {}
        while True:
            page = await world.call("ListFunctions", MaxItems=10_000, **marker)
            sizes.append(len(page["Functions"]))
            seen += [function["FunctionName"] for function in page["Functions"]]
            if "NextMarker" not in page:
                break
            marker = {"Marker": page["NextMarker"]}
        assert sizes == [50, 50, 20]
        assert seen == names

    async def test_a_marker_stays_right_when_its_function_is_deleted(self, world: World) -> None:
        for name in "abcd":
            await world.created(name)
        page = await world.call("ListFunctions", MaxItems=2)
        await world.call("DeleteFunction", FunctionName="b")
        rest = await world.call("ListFunctions", MaxItems=2, Marker=page["NextMarker"])
        assert [function["FunctionName"] for function in rest["Functions"]] == ["c", "d"]
        assert "NextMarker" not in rest

    async def test_all_lists_every_version_in_pages_of_any_size(self, world: World) -> None:
        for name in ("a", "b"):
            await world.created(name, Publish=True)
            await world.call("UpdateFunctionConfiguration", FunctionName=name, Timeout=9)
            await world.settled()
            await world.call("PublishVersion", FunctionName=name)
        expected = [f"{ARN[:-1]}{name}:{version}" for name in "ab" for version in ("$LATEST", "1", "2")]
        for size in range(1, 8):
            seen: list[str] = []
            marker: dict[str, str] = {}
            while True:
                page = await world.call("ListFunctions", FunctionVersion="ALL", MaxItems=size, **marker)
                seen += [function["FunctionArn"] for function in page["Functions"]]
                if "NextMarker" not in page:
                    break
                assert len(page["Functions"]) == size
                marker = {"Marker": page["NextMarker"]}
            assert seen == expected

    async def test_there_are_no_edge_replicas_of_another_region(self, world: World) -> None:
        await world.created()
        assert await world.call("ListFunctions", MasterRegion="us-east-1", FunctionVersion="ALL") == {"Functions": []}

    async def test_a_marker_of_ones_own_making_is_harmless(self, world: World) -> None:
        await world.created(Publish=True)
        for text in ("f:²", "f:" + "9" * 5_000, "../x:1", "f:\0"):
            marker = answers.marker(text)
            await world.call("ListFunctions", FunctionVersion="ALL", Marker=marker)
            await world.call("ListFunctions", Marker=marker)
            await world.call("ListVersionsByFunction", FunctionName="f", Marker=answers.marker(text[2:]))

    @pytest.mark.parametrize("marker", ["%%%", "é", "/w=="])
    async def test_a_marker_that_is_none_is_refused(self, world: World, marker: str) -> None:
        message = await refusal(world, InvalidParameterValue, "ListFunctions", Marker=marker)
        assert message == "The Marker is not one that a previous page gave as NextMarker."

    async def test_a_page_reads_no_more_functions_than_it_shows_and_one(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits_asked: list[int] = []
        scan = world.store.scan

        async def counted(prefix: str, *, after: str = "", limit: int = 1_000) -> Any:
            limits_asked.append(limit)
            return await scan(prefix, after=after, limit=limit)

        monkeypatch.setattr(world.store, "scan", counted)
        await world.call("ListFunctions", MaxItems=7)
        assert limits_asked == [8]


class TestUpdate:
    async def test_new_code_is_in_progress_then_successful_while_the_old_one_serves(self, world: World) -> None:
        before = await world.created()
        world.may_activate.clear()
        world.time += 1
        answer = await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"))
        assert answer["CodeSha256"] == b64encode(hashlib.sha256(zip_of("2")).digest()).decode()
        assert answer["State"] == "Active"
        assert answer["LastUpdateStatus"] == "InProgress"
        assert answer["LastUpdateStatusReason"] == "The function is being created."
        assert answer["LastUpdateStatusReasonCode"] == "Creating"
        assert answer["LastModified"] == "2024-01-01T00:00:01.000+0000"
        record = await stored(world)
        assert record.serving is not None
        assert record.serving.code_sha256 == before["CodeSha256"]
        assert len(world.blobs.kept) == 2
        world.may_activate.set()
        await world.settled()
        after = await world.call("GetFunctionConfiguration", FunctionName="f")
        assert after["LastUpdateStatus"] == "Successful"
        assert "LastUpdateStatusReason" not in after
        assert len({before["RevisionId"], answer["RevisionId"], after["RevisionId"]}) == 3
        assert (await stored(world)).serving is None
        assert set(world.blobs.kept) == {hashlib.sha256(zip_of("2")).hexdigest()}

    async def test_a_dry_run_answers_what_would_be_and_changes_nothing(self, world: World) -> None:
        before = await world.created()
        answer = await world.call(
            "UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"), DryRun=True, Publish=True
        )
        assert answer["CodeSize"] == len(zip_of("2"))
        assert answer["CodeSha256"] != before["CodeSha256"]
        assert await world.call("GetFunctionConfiguration", FunctionName="f") == before
        assert len(world.blobs.kept) == 1
        message = await refusal(
            world, InvalidParameterValue, "UpdateFunctionCode", FunctionName="f", ZipFile=b"", DryRun=True
        )
        assert message == "Could not unzip uploaded file. Please check your file, then try to upload again."

    async def test_publishing_new_code_answers_the_version_which_becomes_active(self, world: World) -> None:
        await world.created(Publish=True)
        world.may_activate.clear()
        answer = await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"), Publish=True)
        assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("2", f"{ARN}:2", "Pending")
        latest = await world.call("GetFunctionConfiguration", FunctionName="f")
        assert (latest["State"], latest["LastUpdateStatus"]) == ("Active", "InProgress")
        world.may_activate.set()
        await world.settled()
        version = await world.call("GetFunctionConfiguration", FunctionName="f", Qualifier="2")
        assert (version["State"], version["LastUpdateStatus"]) == ("Active", "Successful")
        same = await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"), Publish=True)
        assert same["Version"] == "2"

    async def test_only_supplied_members_change_and_structures_change_whole(self, world: World) -> None:
        before = await world.created(
            Environment={"Variables": {"A": "1", "B": "2"}}, LoggingConfig={"LogGroup": "/mine"}, Timeout=7
        )
        answer = await world.call(
            "UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {"A": "3"}}, Description="new"
        )
        assert answer["Environment"] == {"Variables": {"A": "3"}}
        changed = {key for key in answer if answer[key] != before.get(key)} - {"RevisionId", "ConfigSha256"}
        assert changed == {
            "Environment", "Description", "LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode",
        }  # fmt: skip
        await world.settled()
        answer = await world.call("UpdateFunctionConfiguration", FunctionName="f", Environment={}, LoggingConfig={})
        assert "Environment" not in answer
        assert answer["LoggingConfig"]["LogGroup"] == "/aws/lambda/f"

    async def test_a_description_can_be_emptied_and_a_runtime_warned_of(self, world: World) -> None:
        await world.created(Description="x")
        answer = await world.call("UpdateFunctionConfiguration", FunctionName="f", Description="", Runtime="nodejs22.x")
        assert answer["Description"] == ""
        assert answer["_Warning"] == "no node here"

    @pytest.mark.parametrize(
        ("operation", "members"),
        [
            ("UpdateFunctionCode", {"ZipFile": zip_of("2")}),
            ("UpdateFunctionConfiguration", {"Timeout": 5}),
            ("PublishVersion", {}),
            ("DeleteFunction", {}),
            ("DeleteFunction", {"Qualifier": "1"}),
        ],
    )
    async def test_a_function_under_way_refuses_further_changes(
        self, world: World, operation: str, members: dict[str, Any]
    ) -> None:
        world.may_activate.clear()
        await world.create(Publish=True)
        assert await refusal(world, ResourceConflict, operation, FunctionName="f", **members) == PENDING
        world.may_activate.set()
        await world.settled()
        world.may_activate.clear()
        await world.call("UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
        assert await refusal(world, ResourceConflict, operation, FunctionName="f", **members) == IN_PROGRESS

    async def test_one_stuck_for_six_minutes_lets_updates_and_deletes_through(self, world: World) -> None:
        world.may_activate.clear()
        await world.create()
        world.time += 361
        answer = await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"))
        assert answer["State"] == "Pending"
        world.time += 361
        await world.call("DeleteFunction", FunctionName="f")

    @pytest.mark.parametrize(
        ("operation", "members"),
        [
            ("UpdateFunctionCode", {"ZipFile": zip_of("2")}),
            ("UpdateFunctionConfiguration", {"Timeout": 5}),
            ("PublishVersion", {}),
        ],
    )
    async def test_a_stale_revision_id_is_refused_and_the_present_one_taken(
        self, world: World, operation: str, members: dict[str, Any]
    ) -> None:
        current = (await world.created())["RevisionId"]
        message = await refusal(world, PreconditionFailed, operation, FunctionName="f", RevisionId="old", **members)
        assert message == STALE
        await world.call(operation, FunctionName="f", RevisionId=current, **members)

    @pytest.mark.parametrize(
        ("operation", "members", "message"),
        [
            ("UpdateFunctionCode", {}, "Please provide a source for function code."),
            (
                "UpdateFunctionCode",
                {"ImageUri": "i"},
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ),
            (
                "UpdateFunctionConfiguration",
                {"MemorySize": 20_000},
                "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
            ),
            (
                "UpdateFunctionConfiguration",
                {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
                "Lambent does not support VpcConfig yet: remove it from the request. See docs/compatibility.md",
            ),
            (
                "UpdateFunctionCode",
                {"ZipFile": zip_of(), "Architectures": ["arm64"]},
                "Architectures [arm64] cannot run on this host, which runs [x86_64]. See docs/compatibility.md",
            ),
        ],
    )
    async def test_bad_updates_are_refused_and_change_nothing(
        self, world: World, operation: str, members: dict[str, Any], message: str
    ) -> None:
        before = await world.created()
        assert await refusal(world, InvalidParameterValue, operation, FunctionName="f", **members) == message
        assert await world.call("GetFunctionConfiguration", FunctionName="f") == before

    @pytest.mark.parametrize("operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"])
    async def test_updates_are_of_functions_only(self, world: World, operation: str) -> None:
        await world.created(Publish=True)
        assert await refusal(world, InvalidParameterValue, operation, FunctionName="f:1") == UNQUALIFIED_ONLY
        message = await refusal(world, ResourceNotFound, operation, FunctionName="g")
        assert message == f"Function not found: {ARN[:-1]}g"

    async def test_a_change_by_another_process_in_between_is_a_conflict(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await world.created()
        get = world.store.get

        async def overtaken(key: str) -> Any:
            entry = await get(key)
            if entry is not None:
                await world.store.put(key, entry.value)
            return entry

        monkeypatch.setattr(world.store, "get", overtaken)
        message = await refusal(world, ResourceConflict, "UpdateFunctionConfiguration", FunctionName="f", Timeout=5)
        assert message == f"The operation cannot be performed at this time. {ARN} was changed by another request."


class TestDelete:
    async def test_a_function_goes_with_its_versions_and_packages(self, world: World) -> None:
        await world.created(Publish=True)
        await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"), Publish=True)
        await world.settled()
        await world.created("other", Code={"ZipFile": zip_of("2")})
        assert await world.call("DeleteFunction", FunctionName="f") == {"StatusCode": 204}
        assert [entry.key for entry in await world.store.scan("")] == [
            function_key("000000000000", "eu-west-1", "other")
        ]
        assert list(world.blobs.kept) == [hashlib.sha256(zip_of("2")).hexdigest()]
        assert (await world.call("GetAccountSettings"))["AccountUsage"]["FunctionCount"] == 1

    async def test_the_name_may_be_used_again_and_counts_from_one(self, world: World) -> None:
        await world.created(Publish=True)
        await world.call("DeleteFunction", FunctionName="f")
        assert (await world.create(Publish=True))["Version"] == "1"

    async def test_a_version_goes_alone_and_an_absent_one_is_no_error(self, world: World) -> None:
        await world.created(Publish=True)
        assert await world.call("DeleteFunction", FunctionName="f", Qualifier="1") == {"StatusCode": 204}
        assert await world.call("DeleteFunction", FunctionName="f:1") == {"StatusCode": 204}
        assert await world.call("DeleteFunction", FunctionName="f", Qualifier="01") == {"StatusCode": 204}
        assert (
            await refusal(world, ResourceNotFound, "GetFunction", FunctionName="f:1") == f"Function not found: {ARN}:1"
        )
        assert len(world.blobs.kept) == 1

    async def test_latest_an_alias_and_what_an_alias_names_cannot_be_deleted(self, world: World) -> None:
        await world.created(Publish=True)
        await world.call("UpdateFunctionCode", FunctionName="f", ZipFile=zip_of("2"), Publish=True)
        await world.settled()
        for name, version in (("live", "1"), ("beta", "2")):
            weights = {"AdditionalVersionWeights": {"1": 0.1}} if version == "2" else None
            await world.call("CreateAlias", FunctionName="f", Name=name, FunctionVersion=version, RoutingConfig=weights)

        async def delete_refusal(kind: type[ApiError], qualifier: str) -> str:
            return await refusal(world, kind, "DeleteFunction", FunctionName="f", Qualifier=qualifier)

        assert await delete_refusal(InvalidParameterValue, "$LATEST") == (
            "$LATEST version cannot be deleted without deleting the function."
        )
        assert await delete_refusal(InvalidParameterValue, "live") == "Deletion of aliases is not currently supported."
        assert await delete_refusal(ResourceConflict, "1") == (
            "Unable to delete version because the following aliases reference it: [live, beta]"
        )
        assert await delete_refusal(ResourceNotFound, "nobody") == f"Function not found: {ARN}:nobody"

    async def test_a_package_uploaded_again_while_it_is_collected_is_kept(self, world: World) -> None:
        await world.created("a")
        for _ in range(20):
            await asyncio.gather(world.call("DeleteFunction", FunctionName="a"), world.create("b"))
            await world.settled()
            assert len(world.blobs.kept) == 1
            await asyncio.gather(world.create("a"), world.call("DeleteFunction", FunctionName="b"))
            await world.settled()
            assert len(world.blobs.kept) == 1

    async def test_a_package_that_cannot_be_deleted_only_costs_space(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(name: str) -> None:
            raise OSError("read-only file system")

        await world.created()
        monkeypatch.setattr(world.blobs, "delete", broken)
        await world.call("DeleteFunction", FunctionName="f")
        await world.created()


def test_states_in_the_store_are_awss_words() -> None:
    assert (State.PENDING, UpdateStatus.IN_PROGRESS) == ("Pending", "InProgress")
