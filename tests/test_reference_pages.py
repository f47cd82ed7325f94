"""Each public name of mig_jax stands on the page of the reference that is about it."""

from __future__ import annotations

import re
import types

import mig_jax
from tests.running import ROOT


def test_all_names_of_mig_jax_are_told_once():
    page = (ROOT / "docs/reference/python.md").read_text()
    told = re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", page, re.MULTILINE)
    public = [
        name for name in mig_jax.__all__ if not isinstance(getattr(mig_jax, name), types.ModuleType)
    ]
    assert sorted(told) == sorted(public)
