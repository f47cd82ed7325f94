"""One run at a time in a working directory, which keeps nothing of that afterwards."""

from __future__ import annotations

import pytest

from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
    folder = tmp_path / "new" / "grid"
    with held_workdir(str(folder), "ablate") as held:
        assert held == folder
        with (
            pytest.raises(InputError, match="another run is using it"),
            held_workdir(str(folder), "ablate"),
        ):
            pass
        with held_workdir(str(folder), "learn"):  # Another command's files have other names.
            pass
    with held_workdir(str(folder), "ablate"):
        pass
    assert list(folder.iterdir()) == []


def test_a_run_that_fails_lets_go_of_the_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), held_workdir(str(tmp_path), "learn"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path):
    own = tmp_path / "learn.run.json"
    own.write_text("mine")
    with (
        pytest.raises(InputError, match="no record of mig_jax learn"),
        held_workdir(str(tmp_path), "learn"),
    ):
        pass
    assert own.read_text() == "mine"
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"--workdir: .*file: .*; expected a directory"),
        held_workdir(str(tmp_path / "file"), "learn"),
    ):
        pass
