"""Finding the handler: what is imported, from where, and what is reported when it cannot be, on every Python found."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lambent.testing.fake_runtime_api import Answer
from lambent.testing.runtime_process import Exit

BROKEN = {
    "nodot": "Runtime.MalformedHandlerName",
    "sys.exit": "Runtime.BuiltInModuleConflict",
    "no_such_file.handler": "Runtime.ImportModuleError",
    "imports_missing.handler": "Runtime.ImportModuleError",
    "bad_syntax.handler": "Runtime.UserCodeSyntaxError",
    "no_handler.handler": "Runtime.HandlerNotFound",
    "divides_by_zero.handler": "ZeroDivisionError",
}


@pytest.fixture(scope="module")
def broken(start: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Answer, Exit]]:
    """What each handler of BROKEN reports, and how its process ends."""
    root = _code_that_fails(tmp_path_factory.mktemp("task"))

    async def fail(handler: str) -> tuple[Answer, Exit]:
        async with start(handler, task_root=root) as runtime:
            return await runtime.init_error(), await runtime.exit()

    async def fail_all() -> dict[str, tuple[Answer, Exit]]:
        return dict(zip(BROKEN, await asyncio.gather(*map(fail, BROKEN)), strict=True))

    return asyncio.run(fail_all())


def _code_that_fails(root: Path) -> Path:
    (root / "imports_missing.py").write_text("import no_such_module_anywhere\n")
    (root / "bad_syntax.py").write_text("def handler(event, context)\n    return 1\n")
    (root / "no_handler.py").write_text("value = 1\n")
    (root / "divides_by_zero.py").write_text("def answer():\n    return 1 / 0\n\n\nanswer()\n")
    return root


@pytest.mark.parametrize("handler", BROKEN)
def test_a_failed_init_is_reported_and_the_process_exits_with_1(
    broken: dict[str, tuple[Answer, Exit]], handler: str
) -> None:
    answer, end = broken[handler]
    error: Any = answer.json()

    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert error["errorType"] == BROKEN[handler]
    assert error["requestId"] == ""
    assert answer.headers["lambda-runtime-function-error-type"] == BROKEN[handler]
    assert end.code == 1


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("nodot", "Bad handler 'nodot': not enough values to unpack (expected 2, got 1)"),
        ("sys.exit", "Cannot use built-in module sys as a handler module"),
        ("no_such_file.handler", "Unable to import module 'no_such_file': No module named 'no_such_file'"),
        (
            "imports_missing.handler",
            "Unable to import module 'imports_missing': No module named 'no_such_module_anywhere'",
        ),
        ("no_handler.handler", "Handler 'handler' missing on module 'no_handler'"),
        ("divides_by_zero.handler", "division by zero"),
    ],
)
def test_a_failed_init_says_why(broken: dict[str, tuple[Answer, Exit]], handler: str, message: str) -> None:
    error: Any = broken[handler][0].json()

    assert error["errorMessage"] == message


def test_a_syntax_error_shows_the_line(broken: dict[str, tuple[Answer, Exit]]) -> None:
    error: Any = broken["bad_syntax.handler"][0].json()
    (place,) = error["stackTrace"]

    assert error["errorMessage"].startswith("Syntax error in module 'bad_syntax': ")
    assert place.startswith('  File "')
    assert place.endswith('bad_syntax.py" Line 1\n    def handler(event, context)\n')


def test_what_the_module_raises_is_told_without_the_clients_own_frames(
    broken: dict[str, tuple[Answer, Exit]],
) -> None:
    error: Any = broken["divides_by_zero.handler"][0].json()

    assert "lambent_runtime" not in "".join(error["stackTrace"])
    assert error["stackTrace"][-1].endswith('divides_by_zero.py", line 2, in answer\n    return 1 / 0\n')


def test_a_failed_init_is_logged_with_advice_first(broken: dict[str, tuple[Answer, Exit]]) -> None:
    advice, error, *rest = broken["no_handler.handler"][1].stdout.split("\n")

    assert advice.startswith("[WARNING]\t20")
    assert "Z\t\tLAMBDA_WARNING: Unhandled exception. " in advice
    assert error == (
        "[ERROR] Runtime.HandlerNotFound: Handler 'handler' missing on module 'no_handler'"
        "\rTraceback (most recent call last):"
    )
    assert rest == [""]


def test_a_module_that_exits_ends_the_process_without_a_report(start: Any, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import sys\nsys.exit(7)\n")

    async def run() -> Exit:
        async with start("app.handler", task_root=tmp_path) as runtime:
            end: Exit = await runtime.exit()
            assert not runtime.api.init_error.done()
            return end

    assert asyncio.run(run()).code == 7


@pytest.mark.parametrize("handler", ["pkg/inner.handler", "pkg.inner.handler"])
def test_a_handler_in_a_package_is_found_by_slash_and_by_dot(start: Any, handler: str) -> None:
    assert asyncio.run(_answer_of(start, handler)).json() == "pkg.inner"


def test_code_and_layers_come_before_the_standard_library_and_the_sdk_last(start: Any, python: str) -> None:
    path: Any = asyncio.run(_answer_of(start, "calls.handler", b'{"call": "paths"}')).json()
    version = Path(python).name

    assert path[0].endswith("/functions")
    assert path[1:3] == [f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    assert path[-1].endswith("/runtimes/python")
    assert len(path) == len(set(path))


def test_the_sdk_beside_the_client_can_be_imported_unless_the_function_brings_its_own(
    start: Any, tmp_path: Path
) -> None:
    runtime_dir, task_root = tmp_path / "runtime", tmp_path / "task"
    for folder in (runtime_dir / "site-packages", task_root):
        folder.mkdir(parents=True)
    (runtime_dir / "site-packages" / "boto3.py").write_text("origin = 'platform'\n")
    (runtime_dir / "site-packages" / "botocore.py").write_text("origin = 'platform'\n")
    (task_root / "botocore.py").write_text("origin = 'function'\n")
    (task_root / "app.py").write_text(
        "import boto3, botocore\ndef handler(event, context):\n    return [boto3.origin, botocore.origin]\n"
    )

    answer = asyncio.run(_answer_of(start, "app.handler", task_root=task_root, runtime_dir=runtime_dir))

    assert answer.json() == ["platform", "function"]


async def _answer_of(start: Any, handler: str, payload: bytes = b"{}", **where: Any) -> Answer:
    async with start(handler, **where) as runtime:
        answer: Answer = await runtime.invoke(payload)
        return answer


def test_logging_is_ready_while_the_module_is_imported(start: Any) -> None:
    async def run() -> tuple[Answer, Exit]:
        async with start("logs_at_import.handler") as runtime:
            return await runtime.invoke(), await runtime.stop()

    answer, end = asyncio.run(run())
    assert json.loads(answer.body) == 1
    assert end.stdout.endswith("Z\t\tat import\n")
