"""Templates: their functions, parameters and conditions, what of them is refused, and in which order the rest comes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest

from lambent.cli.failure import Failure
from lambent.cli.stack.deployment import KINDS
from lambent.cli.stack.functions import _changed
from lambent.cli.stack.intrinsics import Made, Scope, references
from lambent.cli.stack.parameters import given_parameters, parameter_values
from lambent.cli.stack.stack import split_function, typed
from lambent.cli.stack.support import in_order, refused_in_resources, refused_in_template
from lambent.cli.stack.template import LOCAL_BUCKET, is_template, read_template, translate

SCOPE = Scope(
    {
        "Conditions": {
            "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "IsNot": {"Fn::Not": [{"Condition": "IsProd"}]},
        },
        "Mappings": {"Sizes": {"dev": {"memory": 256}}},
    },
    {"Stage": "dev", "Names": ["a", "b"], "AWS::Region": "eu-west-1"},
)
SCOPE.made["Hello"] = Made(ref="stack-Hello", attributes={"Arn": "arn:hello"})


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Hello"}, "stack-Hello"),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Fn::GetAtt": ["Hello", "Arn"]}, "arn:hello"),
        ({"Fn::GetAtt": "Hello.Arn"}, "arn:hello"),
        ({"Fn::Sub": "${Stage}-${Hello.Arn}-${!Literal}-${AWS::Region}"}, "dev-arn:hello-${Literal}-eu-west-1"),
        ({"Fn::Sub": ["${own}/${Stage}", {"own": {"Ref": "Hello"}}]}, "stack-Hello/dev"),
        ({"Fn::Join": ["-", ["x", {"Ref": "Stage"}]]}, "x-dev"),
        ({"Fn::Join": [",", {"Ref": "Names"}]}, "a,b"),
        ({"Fn::Select": [1, {"Ref": "Names"}]}, "b"),
        ({"Fn::Select": ["0", {"Fn::Split": [":", "x:y"]}]}, "x"),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "memory"]}, 256),
        ({"Fn::If": ["IsProd", "p", "d"]}, "d"),
        ({"Fn::If": ["IsNot", "p", "d"]}, "p"),
        ({"Fn::And": [{"Condition": "IsNot"}, {"Fn::Equals": ["a", "a"]}]}, True),
        ({"Fn::Or": [{"Condition": "IsProd"}, {"Fn::Equals": ["a", "b"]}]}, False),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
        ({"Condition": {"StringEquals": {"a": "b"}}}, {"Condition": {"StringEquals": {"a": "b"}}}),
        ({"a": True, "b": None, "c": 1.5}, {"a": True, "b": None, "c": 1.5}),
    ],
)
def test_intrinsic_functions_are_performed(value: Any, resolved: Any) -> None:
    assert SCOPE.resolve(value) == resolved


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"Ref": "Nothing"}, "Nothing is neither a parameter nor a resource that is deployed"),
        ({"Fn::GetAtt": ["Hello", "Other"]}, "Hello has no attribute Other"),
        ({"Fn::GetAtt": ["Nothing", "Arn"]}, "Nothing is no resource that is deployed"),
        ({"Fn::Sub": "${Nothing.Arn}"}, "Nothing is no resource"),
        ({"Fn::Select": [2, ["a"]]}, "Fn::Select asks for element 2 of 1"),
        ({"Fn::FindInMap": ["Sizes", "x", "y"]}, "the mapping Sizes has no value for x, y"),
        ({"Fn::If": ["None", 1, 2]}, "there is no condition None"),
        ({"Fn::ImportValue": "x"}, "Fn::ImportValue is not supported"),
        ({"Fn::Join": ["", "text"]}, "a list is wanted"),
        ({"Fn::Sub": ["${a}", {"a": ["b"]}]}, "a text is wanted"),
    ],
)
def test_what_stands_for_nothing_is_named(value: Any, complaint: str) -> None:
    with pytest.raises(Failure, match=complaint):
        SCOPE.resolve(value)


def test_all_that_a_value_mentions_is_found() -> None:
    value = {
        "a": [{"Ref": "A"}, {"Fn::GetAtt": ["B", "Arn"]}, {"Fn::GetAtt": "C.Arn"}],
        "b": {"Fn::Sub": ["${D} ${E.Arn} ${own} ${!No}", {"own": {"Ref": "F"}}]},
        "c": {"Fn::If": ["Condition", {"Ref": "G"}, {"Fn::Join": ["", [{"Ref": "H"}]]}]},
    }
    assert sorted(references(value)) == list("ABCDEFGH")


def test_parameters_have_what_is_given_or_their_default() -> None:
    template = {
        "Parameters": {
            "A": {"Type": "String", "Default": "x", "AllowedValues": ["x", "y"]},
            "B": {"Type": "Number"},
            "C": {"Type": "CommaDelimitedList", "Default": "a, b"},
        }
    }
    assert parameter_values(template, {"B": "1.5"}) == {"A": "x", "B": "1.5", "C": ["a", "b"]}
    assert given_parameters(["A=b=c", "B="]) == {"A": "b=c", "B": ""}
    for given, complaint in (
        ({}, "The parameter B has no default"),
        ({"B": "x"}, "The parameter B must be a number, not 'x'"),
        ({"B": "1", "A": "z"}, "The parameter A must be one of x, y, not 'z'"),
        ({"B": "1", "D": "z"}, "The template has no parameter D"),
    ):
        with pytest.raises(Failure, match=complaint):
            parameter_values(template, given)
    with pytest.raises(Failure, match="--parameter must be KEY=VALUE"):
        given_parameters(["A"])
    with pytest.raises(Failure, match="SSM parameter store"):
        parameter_values({"Parameters": {"A": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "x"}}}, {})


def test_resources_come_behind_what_they_need() -> None:
    resources = {
        "C": {"Properties": {"x": {"Fn::GetAtt": ["B", "Arn"]}, "self": {"Ref": "C"}}},
        "B": {"DependsOn": "A", "Properties": {"y": {"Ref": "Parameter"}}},
        "A": {},
    }
    assert in_order(resources) == ["A", "B", "C"]
    with pytest.raises(Failure, match="depend on each other in a circle"):
        in_order({"A": {"DependsOn": ["B"]}, "B": {"Properties": {"Ref": "A"}}})


def test_what_is_not_known_is_refused_by_name() -> None:
    known = {kind: one.properties for kind, one in KINDS.items()}
    resources = {
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "F": {"Type": "AWS::Lambda::Function", "Properties": {"Handler": "h", "CodeSigningConfigArn": "x"}},
        "Fine": {"Type": "AWS::IAM::Role", "Properties": {"Policies": []}},
    }
    assert list(refused_in_resources(resources, known)) == [
        "Bucket: AWS::S3::Bucket",
        "F: the property CodeSigningConfigArn of AWS::Lambda::Function",
    ]
    sam = {
        "Image": {"Type": "AWS::Serverless::Function", "Properties": {"ImageUri": "x"}},
        "Api": {"Type": "AWS::Serverless::Api"},
        "Fine": {
            "Type": "AWS::Serverless::Function",
            "Properties": {"Events": {"Q": {"Type": "SQS"}, "S": {"Type": "SNS"}}},
        },
    }
    assert list(refused_in_template({"Resources": sam})) == [
        "Image: container images",
        "Api: AWS::Serverless::Api",
        "Fine: the event S of type SNS",
    ]


def test_local_code_becomes_packages_and_the_rest_is_sams(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context): ...\n")
    path = tmp_path / "template.yaml"
    path.write_text("""
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {CodeUri: src, Runtime: python3.11, Handler: app.handler}}
Resources:
  Local: {Type: AWS::Serverless::Function, Properties: {Role: arn:aws:iam::000000000000:role/r}}
  Inline:
    Type: AWS::Serverless::Function
    Properties: {InlineCode: "x = 1", Role: !Sub "${AWS::StackName}", Handler: index.handler}
  Remote: {Type: AWS::Serverless::Function, Properties: {CodeUri: s3://bucket/key}}
""")
    translated = translate(read_template(path), tmp_path, {}, None, "us-east-1")
    resources = translated.cloudformation["Resources"]
    local, inline = (resources[name]["Properties"]["Code"] for name in ("Local", "Inline"))

    assert local["S3Bucket"] == inline["S3Bucket"] == LOCAL_BUCKET
    for code, name in ((local, "app.py"), (inline, "index.py")):
        assert zipfile.ZipFile(io.BytesIO(translated.packages[code["S3Key"]])).namelist() == [name]
    assert resources["Remote"]["Properties"]["Code"] == {"S3Bucket": "bucket", "S3Key": "key"}
    assert resources["RemoteRole"]["Type"] == "AWS::IAM::Role"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "is no YAML"),
        ("a: 1", "it has no Resources"),
        (
            "Transform: AWS::Serverless-2016-10-31\n"
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Foo: 1}}}",
            "The template is not valid:",
        ),
    ],
)
def test_what_is_no_template_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(text)

    with pytest.raises(Failure, match=complaint):
        translate(read_template(path), tmp_path, {}, None, "us-east-1")


def test_only_what_differs_is_sent() -> None:
    actual = {
        "Handler": "h",
        "Timeout": 3,
        "MemorySize": 128,
        "Description": "",
        "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
        "Environment": {"Variables": {"AB": "1", "CD": "2"}},
        "Layers": [],
    }
    assert _changed({"Handler": "h", "Environment": {"Variables": {"AB": "1", "CD": "2"}}}, actual) == {}
    assert _changed({"Handler": "g", "Timeout": 4, "Environment": {"Variables": {"AB": "1"}}}, actual) == {
        "Handler": "g",
        "Timeout": 4,
        "Environment": {"Variables": {"AB": "1"}},
    }
    assert _changed({"Handler": "h"}, actual) == {"Environment": {}}


def test_members_get_the_types_of_the_service_model() -> None:
    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    members = {"MemorySize": "256", "Publish": "true", "Environment": {"Variables": {"AB": 1, "CD": True}}, "Other": 1}

    assert typed(client, "CreateFunction", members) == {
        "MemorySize": 256,
        "Publish": True,
        "Environment": {"Variables": {"AB": "1", "CD": "true"}},
        "Other": 1,
    }


def test_names_of_functions_are_taken_apart() -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    assert [split_function(name) for name in ("f", "f:live", arn, f"{arn}:live")] == [
        ("f", None),
        ("f", "live"),
        ("f", None),
        ("f", "live"),
    ]


def test_templates_are_known_by_their_names() -> None:
    names = ("template.yaml", "x.yml", "template.json", "app.py", "x.zip", "directory")
    assert [is_template(Path(name)) for name in names] == [True, True, True, False, False, False]
