"""Packages: what is refused, what is kept, and that nothing ever lands outside."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambent.model import package
from lambent.model.package import COULD_NOT_UNZIP, EMPTY, TOO_LARGE, BadPackage, extract, inspect

Entry = tuple[zipfile.ZipInfo, bytes]


def entry(name: str, content: bytes = b"", mode: int = stat.S_IFREG | 0o644) -> Entry:
    info = zipfile.ZipInfo(name, date_time=(2024, 2, 3, 4, 5, 6))
    info.create_system = 3
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info, content


def link(name: str, target: str) -> Entry:
    return entry(name, target.encode(), stat.S_IFLNK | 0o777)


def zipped(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, content in entries:
            archive.writestr(info, content)
    return buffer.getvalue()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def unpack(data: bytes, target: Path) -> Path:
    zip_path = target.parent / "package.zip"
    zip_path.write_bytes(data)
    extract(zip_path, target)
    return target


def refusal(data: bytes) -> str:
    """The message both ways in agree upon; nothing may be left beside the target directory."""
    with pytest.raises(BadPackage) as inspected:
        inspect(data)
    with TemporaryDirectory() as directory:
        (Path(directory) / "target").mkdir()
        with pytest.raises(BadPackage) as extracted:
            unpack(data, Path(directory) / "target")
        assert sorted(os.listdir(directory)) == ["package.zip", "target"]
    assert str(inspected.value) == str(extracted.value)
    return str(inspected.value)


def test_a_package_is_unpacked_with_its_modes_times_and_missing_directories(target: Path) -> None:
    data = zipped(
        entry("a/b/run.sh", b"#!", stat.S_IFREG | 0o755), entry("a/", mode=stat.S_IFDIR | 0o700), entry("f", b"x")
    )
    unpack(data, target)
    assert (target / "a/b/run.sh").read_bytes() == b"#!"
    assert stat.S_IMODE((target / "a/b/run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((target / "a/b").stat().st_mode) == 0o755
    assert (target / "f").stat().st_mtime == 1706933106


def test_facts_are_counted_from_what_was_inflated() -> None:
    facts = inspect(zipped(entry("a", b"x" * 1000), entry("b", b"y"), link("c", "a")))
    assert (facts.unzipped_bytes, facts.files) == (1001, 3)


def test_the_exact_time_of_info_zip_wins_over_the_dos_time(target: Path) -> None:
    info, content = entry("m.py", b"x")
    info.extra = struct.pack("<HHH", 1, 2, 0) + struct.pack("<HHBi", 0x5455, 5, 1, 1_700_000_001)
    unpack(zipped((info, content)), target)
    assert (target / "m.py").stat().st_mtime == 1_700_000_001


def test_a_time_that_never_was_becomes_the_epoch(target: Path) -> None:
    data = zipped(entry("f", b"x"))
    unpack(data.replace(struct.pack("<H", (44 << 9) | (2 << 5) | 3), struct.pack("<H", 44 << 9)), target)
    assert (target / "f").stat().st_mtime == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0o4755, 0o755), (0o2777, 0o777), (0o1666, 0o666), (0o600, 0o600), (0, 0o644), (0o444, 0o444)],
)
def test_setuid_setgid_and_sticky_bits_are_dropped_and_no_mode_means_0644(target: Path, given: int, kept: int) -> None:
    unpack(zipped(entry("f", b"x", stat.S_IFREG | given)), target)
    assert stat.S_IMODE((target / "f").stat().st_mode) == kept


def test_a_directory_without_a_mode_is_0755_and_a_read_only_one_can_be_filled(target: Path) -> None:
    unpack(zipped(entry("d/", mode=stat.S_IFDIR), entry("r/", mode=stat.S_IFDIR | 0o555), entry("r/s/f", b"x")), target)
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "r").stat().st_mode) == 0o555
    assert (target / "r/s/f").read_bytes() == b"x"


def test_an_archive_made_elsewhere_than_on_unix_gets_default_modes(target: Path) -> None:
    info, content = entry("d/f", b"x", stat.S_IFLNK | 0o777)
    info.create_system = 0
    unpack(zipped((info, content)), target)
    assert stat.S_IMODE((target / "d/f").lstat().st_mode) == 0o644


def test_links_inside_are_kept(target: Path) -> None:
    unpack(
        zipped(
            entry("lib/a.so.1", b"elf"),
            link("lib/a.so", "a.so.1"),
            link("bin/a", "../lib/./a.so"),
            link("up", "bin/.."),
        ),
        target,
    )
    assert os.readlink(target / "bin/a") == "../lib/./a.so"
    assert (target / "bin/a").read_bytes() == b"elf"
    assert (target / "up/lib/a.so").read_bytes() == b"elf"


@pytest.mark.parametrize("path", ["/etc/passwd", "//x", "../x", "a/../../x", "a/..", "..", "./../x"])
def test_a_name_outside_of_the_package_is_refused(path: str) -> None:
    assert refusal(zipped(entry(path, b"x"))) == f"{COULD_NOT_UNZIP} Entry '{path}' would lie outside of the package."


@pytest.mark.parametrize("goal", ["/etc", "..", "../x", "a/../..", "d/../../x", "/var/task/a"])
def test_a_link_that_leads_outside_is_refused(goal: str) -> None:
    assert refusal(zipped(link("l", goal))) == f"{COULD_NOT_UNZIP} Link 'l' leads outside of the package."


def test_a_link_that_only_leads_outside_through_another_link_is_refused() -> None:
    # By its text, x/l/../.. is the package itself; but x/l already is, so it is two levels above.
    data = zipped(entry("x/f", b"x"), link("x/l", ".."), link("m", "x/l/../.."))
    assert refusal(data) == f"{COULD_NOT_UNZIP} Link 'm' leads outside of the package."


def test_links_in_a_circle_and_endless_chains_are_refused() -> None:
    assert "leads through too many links" in refusal(zipped(link("a", "b"), link("b", "a")))
    assert "leads through too many links" in refusal(zipped(*(link(f"{n}", f"{n + 1}/" * 99) for n in range(60))))


def test_links_that_multiply_are_followed_in_linear_time(target: Path) -> None:
    # Each names the next one a hundred times: walked anew every time, this would never end.
    chain = [link(f"d/{n}", f"{n + 1}/../" * 100) for n in range(30)]
    assert "leads outside" in refusal(zipped(*chain))
    inspect(zipped(*(link(f"{n}", f"{n + 1}/./" * 100) for n in range(30))))


@pytest.mark.parametrize(
    "entries",
    [
        [link("d", "e"), entry("d/f", b"x")],
        [entry("d/f", b"x"), link("d", "e")],
        [entry("d", b"x"), entry("d/f", b"x")],
        [entry("d/f/g", b"x"), entry("d", b"x")],
        [link("d", "."), entry("d/", mode=stat.S_IFDIR | 0o755)],
    ],
)
def test_nothing_is_written_through_a_link_or_a_file(entries: list[Entry]) -> None:
    assert refusal(zipped(*entries)).startswith(COULD_NOT_UNZIP)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_entries_with_one_name_the_later_one_counts(target: Path) -> None:
    unpack(zipped(entry("a", b"1"), link("b", "a"), entry("./a", b"2"), entry("b", b"3")), target)
    assert (target / "a").read_bytes() == b"2"
    assert not (target / "b").is_symlink()


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_pipes_and_sockets_are_refused(kind: int) -> None:
    assert "is neither a file, a directory nor" in refusal(zipped(entry("n", b"", kind | 0o666)))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04", bytes(100)])
def test_what_is_no_zip_is_refused_in_awss_words(data: bytes) -> None:
    assert refusal(data) == COULD_NOT_UNZIP


@pytest.mark.parametrize("data", [zipped(), zipped(entry("d/", mode=stat.S_IFDIR | 0o755))])
def test_a_zip_of_nothing_is_refused(data: bytes) -> None:
    assert refusal(data) == EMPTY


def test_more_than_250_mb_are_refused_before_anything_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "UNZIPPED_CODE_BYTES", 1_000)
    inspect(zipped(entry("a", bytes(600)), entry("b", bytes(400))))
    assert refusal(zipped(entry("a", bytes(600)), entry("b", bytes(401)))) == TOO_LARGE
    assert TOO_LARGE == "Unzipped size must be smaller than 262144000 bytes"


def declaring(data: bytes, size: int) -> bytes:
    """The archive of one file, lying about its unzipped size in both headers."""
    local, central = bytearray(data), data.index(b"PK\x01\x02")
    struct.pack_into("<I", local, 22, size)
    struct.pack_into("<I", local, central + 24, size)
    return bytes(local)


@pytest.mark.parametrize("lie", [0, 10, 999, 1_001, 100_000_000])
def test_a_file_that_lies_about_its_size_is_refused(lie: int) -> None:
    assert refusal(declaring(zipped(entry("f", bytes(1_000))), lie)) == COULD_NOT_UNZIP


def test_a_damaged_byte_is_found_by_the_checksum() -> None:
    data = bytearray(zipped(entry("f", os.urandom(1_000))))
    data[500] ^= 1
    assert refusal(bytes(data)) == COULD_NOT_UNZIP


def test_encrypted_files_and_other_methods_than_deflate_are_refused() -> None:
    data = bytearray(zipped(entry("f", b"x")))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refusal(bytes(data)) == COULD_NOT_UNZIP
    info, content = entry("f", b"x")
    info.compress_type = zipfile.ZIP_BZIP2
    assert refusal(zipped((info, content))) == COULD_NOT_UNZIP


def test_too_many_entries_directories_and_links_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "ENTRIES_MAXIMUM", 20)
    monkeypatch.setattr(package, "LINKS_MAXIMUM", 5)
    assert "more than 20 entries" in refusal(zipped(*(entry(f"{n}") for n in range(21))))
    assert "more than 20 directories" in refusal(zipped(entry("d/" * 21 + "f", b"x")))
    assert "nor one of 5 links" in refusal(zipped(*(link(f"{n}", "x") for n in range(6))))
    inspect(zipped(*(entry(f"{n}") for n in range(20))))


@pytest.mark.parametrize("name", ["x" * 256, "a/" * 512 + "f", "ü" * 128])
def test_names_longer_than_a_file_system_takes_are_refused(name: str) -> None:
    assert "is too long" in refusal(zipped(entry(name, b"x")))


@pytest.mark.parametrize("goal", ["", "x" * 1_025, "a\0b"])
def test_a_link_without_a_usable_target_is_refused(goal: str) -> None:
    assert "has no usable target" in refusal(zipped(link("l", goal)))


def test_zip64_is_read(target: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("f", "w", force_zip64=True) as stream:
        stream.write(b"x")
    unpack(buffer.getvalue(), target)
    assert (target / "f").read_bytes() == b"x"


NAMES = st.lists(st.sampled_from(["a", "b", "c", "..", ".", "", "é"]), min_size=1, max_size=4).map("/".join)
ENTRIES = st.lists(
    st.one_of(
        st.builds(entry, NAMES, st.binary(max_size=5), st.integers(0, 0o7777).map(lambda bits: stat.S_IFREG | bits)),
        st.builds(entry, NAMES.map(lambda name: name + "/"), st.just(b""), st.just(stat.S_IFDIR | 0o755)),
        st.builds(link, NAMES, NAMES),
    ),
    max_size=8,
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=300, deadline=None)
@example([entry("x/f", b"x"), link("x/l", ".."), link("m", "x/l/../..")])
@given(ENTRIES)
def test_whatever_the_entries_nothing_lands_or_leads_outside(entries: list[Entry]) -> None:
    data = zipped(*entries)
    with TemporaryDirectory() as directory:
        target = Path(directory) / "target"
        target.mkdir()
        try:
            facts = inspect(data)
        except BadPackage:
            with pytest.raises(BadPackage):
                unpack(data, target)
        else:
            unpack(data, target)
            found = [path for path in target.rglob("*") if path.is_symlink() or path.is_file()]
            assert len(found) == facts.files
            assert all(path.resolve().is_relative_to(target.resolve()) for path in found)
        assert sorted(os.listdir(directory)) == ["package.zip", "target"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_harmless_but_never_another_error(data: st.DataObject) -> None:
    content = bytearray(zipped(entry("d/f", b"hello" * 20), link("l", "d"), entry("e/", mode=stat.S_IFDIR | 0o755)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    with suppress(BadPackage):
        assert inspect(bytes(content)).unzipped_bytes <= 101  # the link may have become a file of one byte
