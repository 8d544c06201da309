"""A SAM template read from disk: its local code made to packages, and SAM's library's CloudFormation of it."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: what a template holds

from lambent.cli.failure import ExitStatus, Failure
from lambent.cli.package import make_package

LOCAL_BUCKET = "lambent-deploy-local"
"""Stands for packages that are sent along, so that SAM's library sees an S3 URI; the key is the package's SHA-256."""

_SAM = "AWS::Serverless-2016-10-31"
_CODE_MEMBERS: Mapping[str, str] = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
}
_PLAIN_CODE_MEMBERS: Mapping[str, str] = {"AWS::Lambda::Function": "Code", "AWS::Lambda::LayerVersion": "Content"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """`cloudformation` is what SAM's library makes of the file; `packages` holds the local code by its key."""

    cloudformation: Mapping[str, Any]
    packages: Mapping[str, bytes]


def is_template(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or path.name == "template.json"


def read_template(path: Path) -> dict[str, Any]:
    """The file as it is written.

    Raises:
        Failure: it is no template.
    """
    from samtranslator.yaml_helper import yaml_parse

    try:
        document = yaml_parse(path.read_text())
    except Exception as exc:
        if type(exc).__module__.startswith("yaml"):
            raise Failure(f"{path} is no YAML: {exc}", status=ExitStatus.USAGE) from exc
        raise
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise Failure(f"{path} is no template: it has no Resources", status=ExitStatus.USAGE)
    return document


def translate(document: dict[str, Any], directory: Path, values: Mapping[str, Any], iam: Any, region: str) -> Template:
    """What the document means; changes it. `iam` is asked for AWS's managed policies, which SAM lets one name shortly.

    Raises:
        Failure: SAM's library finds fault with the template, or code that it names is not there.
    """
    packages = dict(_packaged(document, directory))
    if _SAM not in _texts(document.get("Transform", ())):
        return Template(cloudformation=document, packages=packages)
    os.environ.setdefault("AWS_DEFAULT_REGION", region)  # the library asks boto3 for it, and fails where nobody knows
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
    from samtranslator.translator.transform import transform

    try:
        translated = transform(document, dict(values), ManagedPolicyLoader(iam))
    except InvalidDocumentException as exc:
        causes = "\n".join(f"  {cause.message}" for cause in exc.causes)
        raise Failure(f"The template is not valid:\n{causes}", status=ExitStatus.USAGE) from exc
    return Template(cloudformation=translated, packages=packages)


def _packaged(document: dict[str, Any], directory: Path) -> Iterator[tuple[str, bytes]]:
    """Make packages of the local code, and put S3 URIs in its place."""
    places = [(document.get("Globals", {}).get("Function", {}), "CodeUri", False)]
    for resource in document["Resources"].values():
        kind, properties = resource.get("Type"), resource.get("Properties", {})
        if kind in _CODE_MEMBERS:
            places.append((properties, _CODE_MEMBERS[kind], False))
        elif kind in _PLAIN_CODE_MEMBERS:
            places.append((properties, _PLAIN_CODE_MEMBERS[kind], True))
    for properties, member, is_plain in places:
        package = _package(properties.get(member), directory)
        if package is None and isinstance(properties.get("InlineCode"), str):
            package = inline_package(str(properties.pop("InlineCode")), str(properties.get("Runtime", "")))
        if package is not None:
            key = hashlib.sha256(package).hexdigest()
            uri = {"S3Bucket": LOCAL_BUCKET, "S3Key": key} if is_plain else f"s3://{LOCAL_BUCKET}/{key}"
            properties[member] = uri
            yield key, package


def _package(code: object, directory: Path) -> bytes | None:
    """The package of a local path; None for everything that is none."""
    if not isinstance(code, str) or "://" in code:
        return None
    return make_package((directory / code).resolve())


def inline_package(source: str, runtime: str) -> bytes:
    """Code that is written into the template itself: the module `index`, as CloudFormation has it."""
    buffer = io.BytesIO()
    name = "index.js" if runtime.startswith("nodejs") else "index.py"
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100644 << 16
        archive.writestr(entry, source)
    return buffer.getvalue()


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
