"""Label embeddings read from .npz files."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zipfile
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


def _zipped(path: Path, members: dict[str, bytes], way: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _npy(array: np.ndarray, *changed: tuple[bytes, bytes]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    content = stream.getvalue()
    for old, new in changed:
        assert old in content
        content = content.replace(old, new.ljust(len(old)), 1)
    return content


NAMES_NPY, VECTORS_NPY = _npy(np.array(LABELS)), _npy(VECTORS)
SHAPE = b"(3, 2), }" + b" " * 20


@pytest.mark.parametrize(
    ("labels", "embeddings"),
    [
        (NAMES_NPY, _npy(VECTORS, (SHAPE, b"(99999999999, 2), }"))),  # 1.6 TB.
        (NAMES_NPY, _npy(VECTORS, (SHAPE, b"(-3, 2), }"))),
        (NAMES_NPY, _npy(VECTORS, (SHAPE, b"(3, 1), }"))),
        (NAMES_NPY, _npy(VECTORS, (SHAPE, b"((3, 2), }"))),
        (NAMES_NPY, _npy(VECTORS, (b"'<f8'", b"'|O8'"))),
        (NAMES_NPY, _npy(VECTORS, (b"'<f8'", b"'<c8'"))),
        (NAMES_NPY, _npy(VECTORS, (b"\x93NUMPY\x01", b"\x93NUMPY\x09"))),
        (NAMES_NPY, VECTORS_NPY[:-1]),
        (NAMES_NPY, VECTORS_NPY + b"more"),
        (NAMES_NPY, b""),
        (NAMES_NPY, VECTORS_NPY[:20]),
        (NAMES_NPY[:-4] + b"\xff\xff\xff\xff", VECTORS_NPY),  # No character.
        (_npy(np.array([], "U3")), _npy(np.zeros((0, 3)))),
        (_npy(np.array(["a", "b", "c"], "S1")), VECTORS_NPY),
        (pickle.dumps(LABELS), VECTORS_NPY),
    ],
)
def test_arrays_that_are_damaged_or_lie(tmp_path: Path, labels: bytes, embeddings: bytes) -> None:
    members = {"labels.npy": labels, "embeddings.npy": embeddings}
    for way in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = _zipped(tmp_path / "labels.npz", members, way)
        for missing in ("error", "isolate"):
            text = message(path, ["a"], missing=missing)
            assert text.startswith(f"{path}: ")
            assert "; expected an .npz file with labels" in text


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "was_run"

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(mark),)

    path = tmp_path / "labels.npz"
    np.savez(path, labels=np.array([Runs(), 1], object), embeddings=VECTORS[:2])
    assert "Object arrays cannot be loaded" in message(path, ["a"])
    assert not mark.exists()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    zeros = _npy(np.zeros((1, 1 << 24)))  # 128 MB in 130 kB.
    path = _zipped(tmp_path / "labels.npz", {"labels.npy": NAMES_NPY, "embeddings.npy": zeros})
    tracemalloc.start()
    text = message(path, ["a"])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "embeddings claims 134,217,856 bytes in " in text
    assert most < 1 << 24


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    os.mkfifo(path)
    assert f"{path}: is not a regular file; expected" in message(path, ["a"])
    assert "is a directory" in message(tmp_path, ["a"])


def test_order_and_bytes_of_arrays_do_not_matter(tmp_path: Path) -> None:
    plain, _ = read_label_embeddings(saved(tmp_path, labels=LABELS, embeddings=VECTORS), LABELS)
    for embeddings in (np.asfortranarray(VECTORS), VECTORS.astype(">f8"), VECTORS.astype("g")):
        path = saved(tmp_path, labels=np.array(LABELS, ">U9"), embeddings=embeddings)
        np.testing.assert_array_equal(read_label_embeddings(path, LABELS)[0], plain)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 1e307])
def test_lengths_of_float64_do_not_overflow(tmp_path: Path, scale: float) -> None:
    path = saved(tmp_path, labels=["a"], embeddings=np.array([[3.0, 4.0]]) * scale)
    unit, _ = read_label_embeddings(path, ["a"])
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-3)


def test_equal_rows_that_are_no_numbers_are_one(tmp_path: Path) -> None:
    vectors = np.array([[np.nan, 1.0], [np.nan, 1.0], [1.0, 0.0]])
    path = saved(tmp_path, labels=["x", "x", "a"], embeddings=vectors)
    assert read_label_embeddings(path, ["a"])[0].tolist() == [[1.0, 0.0]]
    assert "1 of 1 labels ('x') have an embedding that is zero or not finite" in message(
        path, ["x"]
    )


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
