"""Label embeddings read from .npz files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mig_jax.data import read_label_embeddings, write_label_embeddings
from mig_jax.errors import InputError

LABELS = ["b", "a", "ü"]
VECTORS = np.array([[3.0, 4.0], [0.0, 0.5], [-2.0, 0.0]])


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "labels.npz"
    np.savez(path, **arrays)
    return path


def message(path: Path, names: list[str], **how: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_label_embeddings(path, names, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_follow_the_names_at_unit_length(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "labels.npz"
    write_label_embeddings(path, LABELS, VECTORS.astype(dtype))
    unit, present = read_label_embeddings(path, ["ü", "b"])
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[-1.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    assert present.tolist() == [True, True]


def test_lengths_do_not_overflow(tmp_path: Path) -> None:
    path = saved(tmp_path, labels=["a"], embeddings=np.array([[3e38, 3e38]], np.float32))
    unit, _ = read_label_embeddings(path, ["a"])
    np.testing.assert_allclose(unit, [[0.5**0.5, 0.5**0.5]], rtol=1e-6)


def test_missing_labels_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, labels=LABELS, embeddings=VECTORS)
    assert message(path, ["a", "x1", "x2"]) == (
        f"{path}: 2 of 3 labels ('x1', 'x2') have no embedding; expected one each "
        "(--missing_embeddings=isolate keeps them as isolated nodes)"
    )
    names = [f"x{n}" for n in range(9)]
    assert "9 of 9 labels ('x0', 'x1', 'x2', 'x3', 'x4', ...) have" in message(path, names)


def test_missing_labels_can_be_isolated(tmp_path: Path) -> None:
    path = saved(tmp_path, labels=LABELS, embeddings=VECTORS)
    unit, present = read_label_embeddings(path, ["x", "a"], missing="isolate")
    assert unit.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert present.tolist() == [False, True]


def test_equal_repeats_are_one(tmp_path: Path) -> None:
    path = saved(tmp_path, labels=[*LABELS, "a"], embeddings=VECTORS[[0, 1, 2, 1]])
    assert read_label_embeddings(path, ["a"])[0].tolist() == [[0.0, 1.0]]


def test_different_repeats_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, labels=[*LABELS, "a"], embeddings=VECTORS[[0, 1, 2, 2]])
    assert message(path, ["b"]) == (
        f"{path}: label 'a' has two different embeddings; expected one a label"
    )


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("missing", ["error", "isolate"])
def test_useless_vectors_matter_where_needed(tmp_path: Path, bad: float, missing: Any) -> None:
    vectors = VECTORS.copy()
    vectors[1] = bad
    path = saved(tmp_path, labels=LABELS, embeddings=vectors)
    assert message(path, ["b", "a"], missing=missing) == (
        f"{path}: 1 of 2 labels ('a') have an embedding that is zero or not finite; "
        "expected finite numbers, not all zero"
    )
    assert read_label_embeddings(path, ["b"], missing=missing)[1].all()


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"labels": LABELS}, "embeddings is not a file in the archive"),
        ({"embeddings": VECTORS}, "labels is not a file in the archive"),
        ({"labels": np.array(LABELS, object), "embeddings": VECTORS}, "Object arrays cannot"),
        ({"labels": LABELS[:2], "embeddings": VECTORS}, "(3, 2) for 2 labels"),
        ({"labels": LABELS, "embeddings": VECTORS[:, 0]}, "(3,) for 3 labels"),
        ({"labels": LABELS, "embeddings": VECTORS[None]}, "(1, 3, 2) for 3 labels"),
        ({"labels": [LABELS], "embeddings": VECTORS}, "labels are <U1 (1, 3)"),
        ({"labels": [1, 2, 3], "embeddings": VECTORS}, "labels are int64 (3,)"),
        ({"labels": LABELS, "embeddings": VECTORS.astype(str)}, "embeddings are <U32"),
    ],
)
def test_arrays_of_another_form(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    path = saved(tmp_path, **arrays)
    text = message(path, ["a"])
    assert text.startswith(f"{path}: ")
    assert told in text
    assert "expected an .npz file with labels (strings, [n])" in text


def test_files_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    write_label_embeddings(path, LABELS, VECTORS)
    whole = path.read_bytes()
    lone = tmp_path / "lone.npy"
    np.save(lone, VECTORS)
    for content in (b"", b"text", whole[: len(whole) // 2], lone.read_bytes()):
        path.write_bytes(content)
        assert "; expected an .npz file with labels" in message(path, ["a"])
    assert "no such file or directory; expected an .npz" in message(tmp_path / "none", ["a"])


def test_writing_checks_what_it_gets(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    with pytest.raises(ValueError, match=r"2 labels but embeddings \(3, 2\)"):
        write_label_embeddings(path, LABELS[:2], VECTORS)
    with pytest.raises(ValueError, match="ends in a NUL"):
        write_label_embeddings(path, ["a\0", "b", "c"], VECTORS)
    assert list(tmp_path.iterdir()) == []


def test_unknown_choice() -> None:
    with pytest.raises(ValueError, match="missing is 'x', expected error or isolate"):
        read_label_embeddings("labels.npz", [], missing="x")  # type: ignore[arg-type]


def test_real_embeddings(shared_file: Callable[[str], Path]) -> None:
    path = shared_file("tag_embeddings.npz")
    names = ["mathematics", "code translation"]
    unit, present = read_label_embeddings(path, names)
    assert unit.shape == (2, 384)
    assert present.all()
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-6)
