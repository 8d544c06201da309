"""What `lambent deploy` packs, and how it finds out where a function begins."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from lambent.cli.failure import Failure
from lambent.cli.package import Entry, find_entry, make_package, name_of
from lambent.testing.service import make_zip

HANDLER = "def handler(event, context): ...\n"


def contents(package: bytes) -> dict[str, int]:
    """Names in a package, with their modes."""
    archive = zipfile.ZipFile(io.BytesIO(package))
    return {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}


def test_a_directory_is_packed_with_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLER)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "data.bin").write_bytes(b"\0")

    assert contents(make_package(tmp_path)) == {"app.py": 0o644, "lib/data.bin": 0o644}


def test_what_others_may_not_read_is_packed_readable_and_executables_stay_executable(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").write_text("#!/bin/sh\n")
    (tmp_path / "bootstrap").chmod(0o700)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)

    assert contents(make_package(tmp_path)) == {"bootstrap": 0o755, "secret": 0o644}


def test_what_never_belongs_to_a_function_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLER)
    for name in (".git", "__pycache__", ".venv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")

    assert contents(make_package(tmp_path)) == {"app.py": 0o644}


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    for number, folder in enumerate(("first", "second")):
        (tmp_path / folder).mkdir()
        for name in ("b.py", "a.py")[:: 1 - 2 * number]:
            (tmp_path / folder / name).write_text(HANDLER)

    assert make_package(tmp_path / "first") == make_package(tmp_path / "second")


def test_a_zip_is_taken_as_it_is(tmp_path: Path) -> None:
    package = make_zip({"app.py": HANDLER})
    (tmp_path / "function.zip").write_bytes(package)

    assert make_package(tmp_path / "function.zip") == package


def test_a_single_file_is_a_package_too(tmp_path: Path) -> None:
    (tmp_path / "resize.py").write_text(HANDLER)

    package = make_package(tmp_path / "resize.py")

    assert contents(package) == {"resize.py": 0o644}
    assert find_entry(package) == Entry(handler="resize.handler")


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="holds no files"):
        make_package(tmp_path)


def test_a_link_to_a_directory_is_refused_and_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    function = tmp_path / "function"
    function.mkdir()
    (tmp_path / "shared.py").write_text(HANDLER)
    (function / "app.py").symlink_to(tmp_path / "shared.py")
    assert contents(make_package(function)) == {"app.py": 0o644}

    (function / "loop").symlink_to(function)
    with pytest.raises(Failure, match="link to a directory"):
        make_package(function)


def test_a_function_is_named_after_its_directory_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thumbnails").mkdir()
    monkeypatch.chdir(tmp_path / "thumbnails")

    assert name_of(Path(".")) == "thumbnails"
    assert name_of(Path("resize.py")) == "resize"
    assert name_of(Path("build/resize.zip")) == "resize"


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"app.py": HANDLER}, "app.handler"),
        ({"lambda_function.py": "def lambda_handler(e, c): ...", "app.py": "x = 1"}, "lambda_function.lambda_handler"),
        ({"main.py": "async def handler(e, c): ...", "other.py": HANDLER}, "main.handler"),
        ({"app.py": "handler = make()"}, "app.handler"),
        ({"app.py": "from api import app as handler"}, "app.handler"),
        ({"only_one.py": HANDLER, "data.txt": ""}, "only_one.handler"),
    ],
)
def test_a_handler_is_found_where_it_usually_is(files: dict[str, str | bytes], handler: str) -> None:
    assert find_entry(make_zip(files)) == Entry(handler=handler)


@pytest.mark.parametrize(
    "files", [{"data.txt": ""}, {"app.py": "def other(): ..."}, {"app.py": "def ("}, {"lib/app.py": HANDLER}]
)
def test_where_there_is_no_handler_none_is_made_up(files: dict[str, str | bytes]) -> None:
    assert find_entry(make_zip(files)) is None


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("index.js", "exports.handler = async () => {};"),
        ("index.mjs", "export const handler = async () => {};"),
        ("app.mjs", "export async function handler() {}"),
        ("server.cjs", "module.exports.handler = wrap(app);"),
        ("index.mjs", "const handler = 1;\nexport { other, handler };"),
    ],
)
def test_a_handler_of_node_is_found_in_either_kind_of_module(file: str, code: str) -> None:
    found = find_entry(make_zip({file: code, "package.json": "{}", "node_modules/x/index.js": "exports.handler = 1"}))

    assert found == Entry(handler=f"{file.rpartition('.')[0]}.handler", language="nodejs")


def test_an_executable_bootstrap_is_a_custom_runtime() -> None:
    files: dict[str, str | bytes] = {"bootstrap": "#!/bin/sh\n", "app.py": HANDLER}

    assert find_entry(make_zip(files, executable=("bootstrap",))) == Entry(
        handler="bootstrap", runtime="provided.al2023"
    )
    assert find_entry(make_zip(files)) == Entry(handler="app.handler")


def test_what_is_no_zip_is_refused() -> None:
    with pytest.raises(Failure, match="not a zip"):
        find_entry(b"PK nonsense")
