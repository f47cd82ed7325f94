"""Compiled programs on disk: found again, and harmless whoever made them and however they end."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import resource
import warnings
from collections.abc import Iterable

import jax
import pytest

from mig_jax.devices import kept_programs, kind_of_programs

pytestmark = pytest.mark.usefixtures("jax_as_it_comes")


@pytest.fixture
def events():
    """What JAX's cache tells of, in the order it happens: its own count of hits and misses."""
    heard: list[str] = []

    def hear(event: str, **_: object) -> None:
        if event.startswith("/jax/compilation_cache/cache_"):
            heard.append(event.rpartition("_")[2])

    jax.monitoring.register_event_listener(hear)
    yield heard
    jax.monitoring.unregister_event_listener(hear)


numbers = itertools.count(1000)


def program(number: int):
    """A program like no other, and compiled anew in each call."""

    def times_a_number(x):
        return x * number

    assert int(jax.jit(times_a_number)(2)) == 2 * number


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("compiled/*/jit_times_a_number-*-cache"))


def settings_of(names: Iterable[str]) -> dict[str, object]:
    return {name: getattr(jax.config, name) for name in names}


def never(line: str) -> None:
    pytest.fail(line)


def test_a_program_is_compiled_once_and_settings_are_put_back(tmp_path, events, jax_as_it_comes):
    number = next(numbers)
    with kept_programs(str(tmp_path / "new" / "cache"), never):
        program(number)
    assert events == ["misses"]
    assert settings_of(jax_as_it_comes) == jax_as_it_comes
    (made,) = entries(tmp_path / "new" / "cache")
    assert made.parent.name == kind_of_programs()
    assert {path.stat().st_mode & 0o777 for path in (made.parent, made.parent.parent)} == {0o700}
    with (
        contextlib.suppress(ZeroDivisionError),
        kept_programs(str(tmp_path / "new" / "cache"), never),
    ):
        program(number)
        raise ZeroDivisionError
    assert events == ["misses", "hits"]
    assert settings_of(jax_as_it_comes) == jax_as_it_comes
    # Neither without, nor with another folder.
    program(number)
    assert events == ["misses", "hits"]
    with kept_programs(str(tmp_path / "other"), never):
        program(number)
    assert events == ["misses", "hits", "misses"]
    assert len(entries(tmp_path / "other")) == len(entries(tmp_path / "new" / "cache")) == 1


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_program_written_in_part_is_written_again(tmp_path, events, left):
    number, told = next(numbers), []
    with kept_programs(str(tmp_path), never):
        program(number)
    (made,) = entries(tmp_path)
    whole = made.read_bytes()
    made.write_bytes(whole[: int(left * len(whole))])  # As if the process had been killed.
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # JAX's own words are not shown.
        with kept_programs(str(tmp_path), told.append):
            program(number)
    assert len(told) == 1
    assert "some compiled programs cannot be read, and are compiled" in told[0]
    assert events == ["misses", "misses"]
    with kept_programs(str(tmp_path), never):
        program(number)
    assert events == ["misses", "misses", "hits"]


def test_other_warnings_are_shown_as_ever(tmp_path):
    with pytest.warns(UserWarning, match="of ours"), kept_programs(str(tmp_path), never):
        warnings.warn("of ours", stacklevel=1)


def test_a_full_disk_keeps_nothing_and_is_told_once(tmp_path, events):
    told, limits = [], resource.getrlimit(resource.RLIMIT_FSIZE)
    with kept_programs(str(tmp_path), told.append):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            program(next(numbers))
            program(next(numbers))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert entries(tmp_path) == []  # Nor a thousand bytes of them.
        program(next(numbers))
        assert len(entries(tmp_path)) == 1
    (line,) = told
    assert "some compiled programs cannot be kept" in line
    assert "File too large" in line


def test_where_no_folder_can_be_nothing_is_kept(tmp_path, events):
    told = []
    (tmp_path / "file").touch()
    with kept_programs(str(tmp_path / "file" / "cache"), told.append):
        program(next(numbers))
    assert events == []
    (line,) = told
    assert line.endswith("Not a directory; compiled programs are not kept")


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path, events):
    number, told = next(numbers), []
    with kept_programs(str(tmp_path), never):
        program(number)
    place = tmp_path / "compiled" / kind_of_programs()
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with kept_programs(str(tmp_path), told.append):
        program(number)
    assert events == ["misses"]
    (line,) = told
    assert line == f"{place}: Not a directory; compiled programs are not kept"


def open_innermost(folder):
    (folder / "compiled" / kind_of_programs()).chmod(0o770)


def open_root(folder):
    (folder / "compiled").chmod(0o702)


def open_parent(folder):
    folder.chmod(0o777)


@pytest.mark.parametrize("spoil", [open_innermost, open_root, open_parent])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, events, spoil):
    number, told = next(numbers), []
    folder = tmp_path / "cache"
    with kept_programs(str(folder), never):
        program(number)
    spoil(folder)
    with kept_programs(str(folder), told.append):
        program(number)
        program(next(numbers))
    assert events == ["misses"]
    assert len(entries(folder)) == 1
    (line,) = told
    assert "others may write there; compiled programs are not kept" in line


def test_a_folder_of_another_user_is_not_used(tmp_path, events, monkeypatch):
    told, me = [], os.geteuid()
    with kept_programs(str(tmp_path), never):
        program(next(numbers))
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with kept_programs(str(tmp_path), told.append):
        program(next(numbers))
    assert events == ["misses"]
    assert len(told) == 1


def test_a_shared_folder_that_only_owners_may_rename_in_is_fine(tmp_path, events):
    shared = tmp_path / "like_tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with kept_programs(str(shared / "cache"), never):
        program(next(numbers))
    assert events == ["misses"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_compilation_cache_dir", "own"),
        ("jax_compilation_cache_max_size", 1 << 20),
        ("jax_enable_compilation_cache", False),
    ],
)
def test_what_the_user_has_set_stands(tmp_path, jax_as_it_comes, name, value):
    value = str(tmp_path / "own") if value == "own" else value
    jax.config.update(name, value)
    with kept_programs(str(tmp_path / "cache"), never):
        assert settings_of(jax_as_it_comes) == jax_as_it_comes | {name: value}
        program(next(numbers))
    assert not (tmp_path / "cache").exists()
    assert getattr(jax.config, name) == value


def test_processes_that_have_joined_keep_none(tmp_path, monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with kept_programs(str(tmp_path / "cache"), never):
        program(next(numbers))
    assert not (tmp_path / "cache").exists()


def test_the_time_that_the_user_has_set_stands(tmp_path, events, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1.0")
    with kept_programs(str(tmp_path), never):
        program(next(numbers))
    assert entries(tmp_path) == []


def test_what_was_not_used_for_longest_goes(tmp_path, events):
    number = next(numbers)
    with kept_programs(str(tmp_path), never):
        program(number)
    (made,) = entries(tmp_path)
    old = tmp_path / "compiled" / "jax-0.1-old"
    full = tmp_path / "compiled" / "jax-0.2-old"
    for folder, names in ((old, ["a-cache"]), (full, ["b-cache", "c-cache", "own.txt"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(bytes(100_000))
            os.utime(folder / name, (ord(name[0]), ord(name[0])))
    (tmp_path / "compiled" / "own-cache").write_bytes(bytes(100_000))  # Of no kind of ours.
    size = made.stat().st_size
    with kept_programs(str(tmp_path), never, most=300_000 + size):
        assert (old / "a-cache").exists()
    with kept_programs(str(tmp_path), never, most=200_000 + size):
        program(number)
    assert events == ["misses", "hits"]
    assert not old.exists()
    assert sorted(path.name for path in full.iterdir()) == ["c-cache", "own.txt"]
    assert (tmp_path / "compiled" / "own-cache").exists()


def test_a_kind_is_what_the_processor_can_do_not_how_it_runs(tmp_path):
    def described(text: str) -> str:
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        return kind_of_programs(path)

    one = "processor\t: 0\nmodel name\t: A\ncpu MHz\t\t: 2000\nflags\t\t: sse avx\n\n"
    assert described(one) == described(one.replace("2000", "2700"))
    assert described(one) == described(one + one.replace(": 0", ": 1"))
    assert described(one) != described(one.replace("sse avx", "sse avx avx512f"))
    assert described(one) != described(one.replace(": A", ": B"))
    arm = "processor\t: 0\nBogoMIPS\t: 50\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n\n"
    assert described(arm) != described(arm.replace("asimd", "asimd sve"))
    assert described("") == kind_of_programs(tmp_path / "none") == kind_of_programs(tmp_path)
    assert kind_of_programs() == kind_of_programs()
    assert kind_of_programs().startswith(f"jax-{jax.__version__}-")
