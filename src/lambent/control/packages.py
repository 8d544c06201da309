"""Code on its way in and out again: fetched, checked, kept by content, collected once nothing names it any more."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lambent.control.requests import PackageMembers, unsupported
from lambent.control.usage import Holding, Ledger
from lambent.model import limits
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, RequestEntityTooLarge
from lambent.model.package import BadPackage, inspect
from lambent.ports.blobs import Blobs
from lambent.ports.code_source import CodeSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A checked package. `blob` is the hex SHA-256 of the zip, `sha256` the same as AWS shows it."""

    data: bytes
    blob: str
    sha256: str
    unzipped_bytes: int


class Packages:
    def __init__(self, blobs: Blobs, source: CodeSource, ledger: Ledger) -> None:
        self._blobs = blobs
        self._source = source
        self._ledger = ledger
        self._uploads = 0
        self._leaving: dict[str, asyncio.Event] = {}

    async def take(self, caller: CallerContext, code: PackageMembers) -> Package:
        """Fetch and check the code that a request names.

        Raises:
            InvalidParameterValue: there is none, or it is no good.
            RequestEntityTooLarge: a zip in the request itself is larger than 50 MB.
        """
        data = await self._bytes(caller, code)
        try:
            facts = await asyncio.to_thread(inspect, data)
        except BadPackage as error:
            raise InvalidParameterValue(str(error)) from error
        digest = await asyncio.to_thread(hashlib.sha256, data)
        return Package(
            data=data,
            blob=digest.hexdigest(),
            sha256=b64encode(digest.digest()).decode(),
            unzipped_bytes=facts.unzipped_bytes,
        )

    @asynccontextmanager
    async def kept(self, caller: CallerContext, package: Package) -> AsyncIterator[None]:
        """Keep the package while a record that names it is written; it goes again if none was."""
        self._uploads += 1
        upload = f"upload/{self._uploads}"
        self._ledger.note(upload, Holding(scope=(caller.account, caller.region), packages=(package.blob,)))
        try:
            while (leaving := self._leaving.get(package.blob)) is not None:
                await leaving.wait()
            await self._blobs.put(package.data)
            yield
        finally:
            await self.collect(self._ledger.note(upload, None))

    async def collect(self, packages: Iterable[str]) -> None:
        """Delete packages that nothing names; whoever uploads the same bytes meanwhile waits, then keeps them anew."""
        for package in packages:
            if self._ledger.names(package) or package in self._leaving:
                continue
            self._leaving[package] = asyncio.Event()
            try:
                await self._blobs.delete(package)
            except OSError as error:  # only space is lost
                log.warning("package.not_deleted", extra={"package": package, "reason": str(error)})
            finally:
                self._leaving.pop(package).set()

    async def _bytes(self, caller: CallerContext, code: PackageMembers) -> bytes:
        if code.s3_object_storage_mode == "REFERENCE":
            raise unsupported("S3ObjectStorageMode REFERENCE")
        if code.zip_file is not None:
            if code.s3_bucket or code.s3_key or code.s3_object_version:
                raise InvalidParameterValue(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile."
                )
            if len(code.zip_file) > limits.ZIPPED_CODE_BYTES:
                raise RequestEntityTooLarge(f"Zipped size must be smaller than {limits.ZIPPED_CODE_BYTES} bytes")
            return code.zip_file
        if not code.s3_bucket or not code.s3_key:
            raise InvalidParameterValue("Please provide a source for function code.")
        return await self._source.fetch(
            code.s3_bucket, code.s3_key, version=code.s3_object_version, region=caller.region
        )
