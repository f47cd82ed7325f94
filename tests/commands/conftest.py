"""What the tests of commands share."""

from __future__ import annotations

import pytest

from tests.running import mig


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory):
    """300 generated records and the embeddings of their labels, as files."""
    folder = tmp_path_factory.mktemp("pool")
    made = mig(
        "make_pool",
        "--records=300",
        f"--output={folder / 'pool.jsonl'}",
        f"--label_embeddings={folder / 'labels.npz'}",
    )
    assert made.returncode == 0, made.stderr
    return folder / "pool.jsonl"
