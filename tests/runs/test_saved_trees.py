"""Trees on disk: what the system refuses is an error of the system, with no pages of text."""

from __future__ import annotations

import errno
import logging

import numpy as np
import pytest

from mig_jax import runs

FULL = (
    "RESOURCE_EXHAUSTED: failed to write [os_error_code='28'] [spec='…']"  # As TensorStore has it.
)


def fails(text: str) -> None:
    with runs.disk_errors():
        logging.getLogger("absl").error("pages of text")
        raise ValueError(text)


def test_an_error_of_the_system_is_raised_as_one(caplog):
    with pytest.raises(OSError, match="No space left on device") as caught:
        fails(FULL)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match=r"^wrong$"):
        fails("wrong")
    assert caplog.text == ""
    logging.getLogger("absl").error("afterwards")
    assert "afterwards" in caplog.text


def test_a_tree_comes_back(tmp_path):
    tree = {"a": [np.arange(3.0)], "b": np.ones((2, 2), np.int32)}
    runs.write_tree(str(tmp_path / "tree"), tree)
    found = runs.read_tree(str(tmp_path / "tree"))
    np.testing.assert_array_equal(found["a"][0], tree["a"][0])
    np.testing.assert_array_equal(found["b"], tree["b"])
