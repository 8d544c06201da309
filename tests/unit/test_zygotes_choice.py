"""Which zygote a function may be forked from: decided from its interpreter, its variables and its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.worker.runtimes import Interpreter
from lambent.worker.variables import startup_variables
from lambent.worker.zygotes import Contents, choose_zygote, examine, suitable_zygotes, zygote_plans

PYTHON = Interpreter(
    runtime="python3.12",
    version="3.12.1",
    executable=Path("/opt/python/bin/python3.12"),
    prefix=Path("/opt/python"),
    source="opt",
)
VARIABLES = {"LANG": "en_US.UTF-8", "TABLE": "t"}
PLAIN, WITH_SDK = "python3.12", "python3.12+sdk"


def contents(*modules: str, names_sdk: bool = False) -> Contents:
    return Contents(modules=frozenset(modules), names_sdk=names_sdk)


def test_a_zygote_is_started_as_a_runtime_would_be() -> None:
    plain, with_sdk = zygote_plans([PYTHON, PYTHON], Path("/data/runtime"))

    assert (plain.name, with_sdk.name) == (PLAIN, WITH_SDK)
    assert plain.argv == with_sdk.argv == ("/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py")
    assert plain.env == startup_variables("python3.12")
    assert "boto3" in with_sdk.preloads
    assert "boto3" not in plain.preloads


def test_only_who_names_the_sdk_is_forked_with_it() -> None:
    assert suitable_zygotes(PYTHON, VARIABLES, contents("app")) == (PLAIN,)
    assert suitable_zygotes(PYTHON, VARIABLES, contents("app", names_sdk=True)) == (WITH_SDK, PLAIN)


@pytest.mark.parametrize("optional", ["awscrt", "certifi", "OpenSSL"])
def test_who_brings_what_the_sdk_would_make_use_of_imports_it_anew(optional: str) -> None:
    assert suitable_zygotes(PYTHON, VARIABLES, contents("app", optional, names_sdk=True)) == (PLAIN,)


@pytest.mark.parametrize(
    "setting", ["PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "LANG", "LC_ALL"]
)
def test_a_setting_that_is_read_at_the_start_takes_a_start(setting: str) -> None:
    assert suitable_zygotes(PYTHON, {**VARIABLES, setting: "other"}, contents("app")) == ()


def test_a_time_zone_can_be_set_afterwards() -> None:
    assert suitable_zygotes(PYTHON, {**VARIABLES, "TZ": "Europe/Vienna"}, contents("app")) == (PLAIN,)


def test_the_best_one_that_is_ready_is_taken() -> None:
    suitable = (WITH_SDK, PLAIN)
    loaded = {PLAIN: frozenset({"json"}), WITH_SDK: frozenset({"json", "boto3"})}

    assert choose_zygote(suitable, contents("app"), loaded) == WITH_SDK
    assert choose_zygote(suitable, contents("app"), {PLAIN: loaded[PLAIN]}) == PLAIN
    assert choose_zygote(suitable, contents("app"), {}) is None


def test_who_brings_a_module_is_not_forked_where_another_of_that_name_is_loaded() -> None:
    loaded = {PLAIN: frozenset({"json"}), WITH_SDK: frozenset({"json", "boto3"})}

    assert choose_zygote((WITH_SDK, PLAIN), contents("boto3"), loaded) == PLAIN
    assert choose_zygote((WITH_SDK, PLAIN), contents("json"), loaded) is None


def test_a_package_and_its_layers_tell_which_modules_they_bring(tmp_path: Path) -> None:
    code, layer = tmp_path / "code", tmp_path / "layer"
    for path in (
        *(code / "app.py", code / "fast.cpython-312-x86_64-linux-gnu.so", code / "package/__init__.py"),
        *(code / "templates/page.html", code / "requests-2.0.dist-info/METADATA", code / "notes.txt"),
        *(layer / "python/shared.py", layer / "python/lib/python3.12/site-packages/deep/__init__.py"),
        layer / "elsewhere/ignored.py",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert examine(code, [layer]).modules == {"app", "fast", "package", "shared", "deep"}
    assert not examine(code, [layer]).names_sdk


@pytest.mark.parametrize("place", ["code/lib/deep.py", "layer/python/shared.py"])
def test_the_sdk_named_anywhere_counts(tmp_path: Path, place: str) -> None:
    for directory in ("code/lib", "layer/python"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / place).write_text("from botocore.config import Config\n")

    assert examine(tmp_path / "code", [tmp_path / "layer"]).names_sdk
