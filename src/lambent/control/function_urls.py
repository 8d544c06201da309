"""Function URL configs: create, get, update, delete, list (reference/invocation.md §6.1)."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from lambent.control.answers import PAGE_MAXIMUM, Answer
from lambent.control.catalogue import Catalogue, Found
from lambent.control.names import function_arn, unqualified_arn
from lambent.control.operation import Operation, parsing
from lambent.control.paging import page
from lambent.control.requests import FunctionPageRequest, Members, QualifiedRequest
from lambent.control.stamps import Stamps
from lambent.model.arn import FunctionArn
from lambent.model.caller import CallerContext
from lambent.model.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from lambent.model.function_url import URL_PATH, AuthType, Cors, FunctionUrlConfig, InvokeMode

_METHODS = frozenset(("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "*"))
_NOTHING = Cors()


class CorsMembers(Members):
    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age: int | None = None


class UpdateFunctionUrlConfigRequest(QualifiedRequest):
    auth_type: AuthType | None = None
    cors: CorsMembers | None = None
    invoke_mode: InvokeMode | None = None


class CreateFunctionUrlConfigRequest(QualifiedRequest, kw_only=True):
    auth_type: AuthType
    cors: CorsMembers | None = None
    invoke_mode: InvokeMode | None = None


class FunctionUrls:
    def __init__(self, catalogue: Catalogue, stamps: Stamps) -> None:
        self._catalogue = catalogue
        self._stamps = stamps

    @property
    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateFunctionUrlConfig": parsing(CreateFunctionUrlConfigRequest, self.create_function_url_config),
            "GetFunctionUrlConfig": parsing(QualifiedRequest, self.get_function_url_config),
            "UpdateFunctionUrlConfig": parsing(UpdateFunctionUrlConfigRequest, self.update_function_url_config),
            "DeleteFunctionUrlConfig": parsing(QualifiedRequest, self.delete_function_url_config),
            "ListFunctionUrlConfigs": parsing(FunctionPageRequest, self.list_function_url_configs),
        }

    async def create_function_url_config(
        self, caller: CallerContext, request: CreateFunctionUrlConfigRequest
    ) -> Answer:
        function = function_arn(caller, "CreateFunctionUrlConfig", request.function_name, request.qualifier)
        now = self._stamps.last_modified()
        config = FunctionUrlConfig(
            url_id=_url_id(function, self._stamps.new_id()),
            auth_type=request.auth_type,
            cors=_cors(request.cors),
            invoke_mode=request.invoke_mode,
            creation_time=now,
            last_modified_time=now,
        )
        async with self._catalogue.changing:
            found = await self._function(function)
            if function.qualifier is not None and function.qualifier not in found.record.aliases:
                raise ResourceNotFound(f"Cannot find alias arn: {function}")
            if (function.qualifier or "") in found.record.url_configs:
                raise ResourceConflict(
                    f"Failed to create function url config for [functionArn = {function}]. Error message:  "
                    "FunctionUrlConfig exists for this Lambda function"
                )
            await self._put(found, function, config)
        answer = _answer(caller, function, config)
        del answer["LastModifiedTime"]
        return {**answer, "InvokeMode": request.invoke_mode}

    async def get_function_url_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        function = function_arn(caller, "GetFunctionUrlConfig", request.function_name, request.qualifier)
        return _answer(caller, function, _existing(await self._catalogue.get(function), function)[1])

    async def update_function_url_config(
        self, caller: CallerContext, request: UpdateFunctionUrlConfigRequest
    ) -> Answer:
        """What is not mentioned stays; empty `Cors` ends it."""
        function = function_arn(caller, "UpdateFunctionUrlConfig", request.function_name, request.qualifier)
        async with self._catalogue.changing:
            found, before = _existing(await self._catalogue.get(function), function)
            config = replace(
                before,
                auth_type=request.auth_type or before.auth_type,
                cors=before.cors if request.cors is None else _cors(request.cors),
                invoke_mode=request.invoke_mode or before.invoke_mode,
                last_modified_time=self._stamps.last_modified(),
            )
            await self._put(found, function, config)
        return _answer(caller, function, config)

    async def delete_function_url_config(self, caller: CallerContext, request: QualifiedRequest) -> Answer:
        """The URL of an alias goes only when the alias is named."""
        function = function_arn(caller, "DeleteFunctionUrlConfig", request.function_name, request.qualifier)
        async with self._catalogue.changing:
            found, _ = _existing(await self._catalogue.get(function), function)
            configs = found.record.url_configs
            kept = {name: config for name, config in configs.items() if name != (function.qualifier or "")}
            await self._catalogue.put(replace(found.record, url_configs=kept), found.revision)
        return {}

    async def list_function_url_configs(self, caller: CallerContext, request: FunctionPageRequest) -> Answer:
        function = unqualified_arn(caller, "ListFunctionUrlConfigs", request.function_name)
        configs = (await self._function(function)).record.url_configs
        by_arn = {str(function.qualified(name) if name else function): name for name in configs}
        arns, next_marker = page(by_arn, request.marker, request.max_items or PAGE_MAXIMUM)
        shown = [(function.qualified(by_arn[arn]) if by_arn[arn] else function, configs[by_arn[arn]]) for arn in arns]
        return {
            "FunctionUrlConfigs": [_answer(caller, arn, config) for arn, config in shown],
            "NextMarker": next_marker,
        }

    async def _function(self, function: FunctionArn) -> Found:
        found = await self._catalogue.get(function)
        if found is None:
            raise ResourceNotFound("Function does not exist")
        return found

    async def _put(self, found: Found, function: FunctionArn, config: FunctionUrlConfig) -> None:
        configs: Mapping[str, FunctionUrlConfig] = {**found.record.url_configs, function.qualifier or "": config}
        await self._catalogue.put(replace(found.record, url_configs=configs), found.revision)


def _existing(found: Found | None, function: FunctionArn) -> tuple[Found, FunctionUrlConfig]:
    config = found.record.url_configs.get(function.qualifier or "") if found else None
    if found is None or config is None:
        raise ResourceNotFound("The resource you requested does not exist.")
    return found, config


def _url_id(function: FunctionArn, unique: str) -> str:
    """32 lower-case letters and digits: a URL that was deleted never comes back."""
    digest = hashlib.sha256(f"{function} {unique}".encode()).digest()
    return b32encode(digest)[:32].decode().lower()


def _cors(members: CorsMembers | None) -> Cors | None:
    if members is None:
        return None
    for method in members.allow_methods or ():
        if method not in _METHODS:
            raise InvalidParameterValue(
                f"Value '{method}' at 'cors.allowMethods' failed to satisfy constraint: Member must satisfy enum "
                f"value set: [{', '.join(sorted(_METHODS))}]"
            )
    cors = Cors(
        allow_credentials=members.allow_credentials,
        allow_headers=members.allow_headers,
        allow_methods=members.allow_methods,
        allow_origins=members.allow_origins,
        expose_headers=members.expose_headers,
        max_age_s=members.max_age,
    )
    return None if cors == _NOTHING else cors


def _answer(caller: CallerContext, function: FunctionArn, config: FunctionUrlConfig) -> Answer:
    return {
        "FunctionUrl": _function_url(caller.base_url, config.url_id, function.region),
        "FunctionArn": str(function),
        "AuthType": config.auth_type,
        "Cors": _cors_answer(config.cors) if config.cors else None,
        "CreationTime": config.creation_time,
        "LastModifiedTime": config.last_modified_time,
        "InvokeMode": config.invoke_mode or InvokeMode.BUFFERED,
    }


def _cors_answer(cors: Cors) -> Answer:
    return {
        "AllowCredentials": cors.allow_credentials,
        "AllowHeaders": cors.allow_headers,
        "AllowMethods": cors.allow_methods,
        "AllowOrigins": cors.allow_origins,
        "ExposeHeaders": cors.expose_headers,
        "MaxAge": cors.max_age_s,
    }


def _function_url(base_url: str, url_id: str, region: str) -> str:
    """A URL that works from where the caller is.

    Names below `localhost` lead to this machine without any DNS; elsewhere the server is named as the caller named it.
    """
    base = urlsplit(base_url)
    host = base.hostname or "localhost"
    if host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127."):
        port = f":{base.port}" if base.port is not None else ""
        return f"{base.scheme}://{url_id}.lambda-url.{region}.localhost{port}/"
    return f"{base_url}{URL_PATH}{url_id}/"
