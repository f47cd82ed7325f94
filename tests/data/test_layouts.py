"""Each layout's fields, and what is said about records that do not have them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.data import (
    LABEL_FORMATS,
    BadRecord,
    convert_mig_jax,
    convert_plain,
    decode_mig_jax,
    decode_plain,
    decode_xsample,
    detect_label_format,
)


def xsample(
    content: Any = ("a", "b"), quality: Any = (2.0, 3.0), complexity: Any = (1.0, 4.0)
) -> bytes:
    record = {
        "dialogs": [{"role": "user", "content": "x"}],
        "annotation": {
            "instag": {"content": content},
            "deita": {"quality_scores": quality, "complexity_scores": complexity},
        },
    }
    return json.dumps(record).encode()


def test_xsample_score_is_the_mean_of_quality_times_complexity() -> None:
    assert decode_xsample(xsample()) == (["a", "b"], (2.0 * 1.0 + 3.0 * 4.0) / 2)


def test_plain_takes_labels_and_score() -> None:
    assert decode_plain(b'{"score": 3, "x": [{}], "labels": ["b", "a"]}') == (["b", "a"], 3.0)


def test_labels_count_once() -> None:
    assert decode_plain(b'{"labels": ["b", "a", "b"], "score": 0}')[0] == ["b", "a"]
    assert decode_xsample(xsample(["b", "a", "b"]))[0] == ["b", "a"]


def test_a_record_may_have_no_labels() -> None:
    assert decode_plain(b'{"labels": [], "score": 1}') == ([], 1.0)
    assert decode_xsample(xsample([]))[0] == []


@given(labels=st.lists(st.text()), score=st.floats(0, 1e38), other=st.text())
def test_any_text_is_decoded(labels: list[str], score: float, other: str) -> None:
    record = {"other": other, "labels": labels, "score": score}
    for ascii_only in (True, False):
        try:
            line = json.dumps(record, ensure_ascii=ascii_only).encode()
        except UnicodeEncodeError:
            return
        assert decode_plain(line) == (list(dict.fromkeys(labels)), score)
    assert convert_plain(record) == (list(dict.fromkeys(labels)), score)


SCORES = (0, -0.0, 2.5, -3, 1e30, "1", float("nan"))
SCORE_LISTS = [
    list(scores) for turns in range(3) for scores in itertools.product(SCORES, repeat=turns)
]


@pytest.mark.parametrize("labels", [["b", "a", "b"], [3]])
def test_the_fast_way_agrees_with_the_careful_one(labels: list[Any]) -> None:
    lines = [
        ("xsample", xsample(labels, quality, complexity))
        for quality, complexity in itertools.product(SCORE_LISTS, SCORE_LISTS)
    ]
    lines += [
        ("plain", json.dumps({"labels": labels, "score": score}).encode()) for score in SCORES
    ]
    lines += [("mig_jax", b'{"mig_jax": %s}' % line) for layout, line in lines if layout == "plain"]
    for layout, line in lines:
        found = LABEL_FORMATS[layout].parse(line)
        try:
            expected = LABEL_FORMATS[layout].decode(line)
        except BadRecord:
            assert found is None, line
            continue
        assert found is not None, line
        # As text, because 0.0 and -0.0 are equal.
        assert [list(dict.fromkeys(found[0])), str(found[1])] == [expected[0], str(expected[1])]


TRAILING = "JSON is malformed: trailing characters (byte {}); expected one JSON object a line"
PLAIN_CASES = {
    b'{"labels": ["a"], "score": 1} {"labels": []}': TRAILING.format(31),
    b'{"labels": ["a"]} {"labels": [], "score": 1}': TRAILING.format(19),
    b'{"labels": ["a"], "score": 1': "JSON is truncated; expected one JSON object a line",
    b"nothing": "JSON is malformed: invalid character (byte 1); expected one JSON object a line",
    b'["a"]': "found a list, expected one JSON object a line",
    b"3": "found a number, expected one JSON object a line",
    b'{"score": 1}': "field labels: missing, expected a list of strings",
    b'{"labels": []}': "field score: missing, expected a finite number of at least 0",
    b'{"labels": "a", "score": 1}': "field labels: found a string, expected a list of strings",
    b'{"labels": null, "score": 1}': "field labels: found null, expected a list of strings",
    b'{"labels": ["a", 3], "score": 1}': "field labels[1]: found a number, expected a string",
    b'{"labels": [], "score": "1"}': (
        "field score: found a string, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": true}': (
        "field score: found true or false, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": -0.5}': (
        "field score: found -0.5, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": 1e39}': (
        "field score: found 1e+39, expected at most 3.4e38 (float32)"
    ),
    b'{"labels": [], "score": 1e400}': (
        "field score: number out of range, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": NaN}': (
        "field score: found NaN, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": Infinity}': (
        "field score: found Infinity, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": -Infinity}': (
        "field score: found -Infinity, expected a finite number of at least 0"
    ),
    b'{"x": NaN, "labels": ["a"], "score": "y"}': (
        "field score: found a string, expected a finite number of at least 0"
    ),
    b'{"x": NaN, "labels": ["a"], "score": 1} 3': (
        "JSON is malformed: invalid character (byte 6); expected one JSON object a line"
    ),
    b'{"labels": ["a", "\xff"], "score": 1}': (
        "field labels[1]: found bytes that are not UTF-8, expected a string in UTF-8"
    ),
    b'{"labels": ["\\ud800"], "score": 1}': (
        "field labels[0]: found a lone surrogate (half a character), expected a string in UTF-8"
    ),
    b'{"labels": ["a"], "score": 1, "score": "2"}': (
        "field score: found a string, expected a finite number of at least 0"
    ),
    b'{"labels": [], "score": 1, "x": ' + b"[" * 200_000: (
        "JSON is nested too deeply; expected one JSON object a line"
    ),
    b'{"labels": ' + b"[" * 200_000 + b"]" * 200_000 + b', "score": 1}': (
        "JSON is nested too deeply; expected one JSON object a line"
    ),
}


@pytest.mark.parametrize("line", PLAIN_CASES, ids=lambda line: line[:40].decode("latin-1"))
def test_bad_plain_records(line: bytes) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_plain(line)
    assert str(caught.value) == PLAIN_CASES[line]


XSAMPLE_CASES = {
    b'{"dialogs": []}': ("field annotation: missing, expected an object with instag and deita"),
    b'{"annotation": {}}': ("field annotation.instag: missing, expected an object with content"),
    b'{"annotation": null}': (
        "field annotation: found null, expected an object with instag and deita"
    ),
    b'{"annotation": {"instag": {}, "deita": {}}}': (
        "field annotation.instag.content: missing, expected a list of strings"
    ),
    b'{"annotation": {"instag": {"content": []}, "deita": {}}}': (
        "field annotation.deita.quality_scores: missing, expected a list of numbers, one a turn"
    ),
    xsample(quality=[]): (
        "field annotation.deita.quality_scores: found 0 quality and 2 complexity scores, "
        "expected as many of both, one a turn, and at least one"
    ),
    xsample(quality=[], complexity=[]): (
        "field annotation.deita.quality_scores: found 0 quality and 0 complexity scores, "
        "expected as many of both, one a turn, and at least one"
    ),
    xsample(complexity=[1.0, 2.0, 3.0]): (
        "field annotation.deita.quality_scores: found 2 quality and 3 complexity scores, "
        "expected as many of both, one a turn, and at least one"
    ),
    xsample(quality=[1.0, "x"]): (
        "field annotation.deita.quality_scores[1]: found a string, expected a finite number"
    ),
    xsample(complexity=[1.0, float("nan")]): (
        "field annotation.deita.complexity_scores[1]: found NaN, expected a finite number"
    ),
    xsample(quality=[-9.0, 1.0]): (
        "field annotation.deita: the mean of quality times complexity is -2.5, "
        "expected a finite number of at least 0"
    ),
    xsample(quality=[1e300, 1.0], complexity=[1e300, 1.0]): (
        "field annotation.deita: the mean of quality times complexity is Infinity, "
        "expected a finite number of at least 0"
    ),
}


@pytest.mark.parametrize("line", XSAMPLE_CASES, ids=lambda line: line[-60:].decode())
def test_bad_xsample_records(line: bytes) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_xsample(line)
    assert str(caught.value) == XSAMPLE_CASES[line]


@pytest.mark.parametrize(
    "line",
    [
        b'{"labels": ["a"], "score": 1, "x": [NaN, -Infinity]}',
        b'{"labels": ["a"], "score": 1, "x": "\xff", "\xfe": 2}',
        b'{"labels": ["a"], "score": 1, "\xfe": NaN}',
        b'{"labels": ["a"], "score": 1}\r',
        b' {"labels": ["a"], "score": 1.0, "x": 1e999} ',
        b'{"labels": ["a"], "score": 1, "x": "\\ud83d"}',
        b'{"x": {"y": "\\ude00\\ud83d"}, "labels": ["a"], "score": 1}',
    ],
)
def test_fields_that_are_not_used_may_hold_anything(line: bytes) -> None:
    assert decode_plain(line) == (["a"], 1.0)


@given(
    line=st.sampled_from([xsample(), b'{"labels": ["a", "b"], "score": 1.5, "x": NaN}']),
    changes=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=3),
    keep=st.integers(1, 200),
)
def test_damaged_lines_are_decoded_or_told(
    line: bytes, changes: list[tuple[int, bytes]], keep: int
) -> None:
    for place, text in changes:
        line = line[:place] + text + line[place + len(text) :]
    for decode in (decode_xsample, decode_plain, decode_mig_jax, detect_label_format):
        problem = "expected a record"
        try:
            decode(line[:keep])
        except BadRecord as error:
            problem = str(error)
        assert "expected " in problem
        assert "\n" not in problem


def test_layout_is_detected() -> None:
    assert detect_label_format(xsample()) == "xsample"
    assert detect_label_format(b'{"labels": 3, "score": NaN}') == "plain"
    assert detect_label_format(xsample()[:-1] + b', "labels": [], "score": 1}') == "xsample"
    ours = b', "mig_jax": {"labels": 3, "score": {}}}'
    assert detect_label_format(xsample()[:-1] + ours) == "mig_jax"
    assert detect_label_format(b'{"labels": [], "score": 1' + ours) == "mig_jax"
    # A user's own field of that name tells nothing.
    assert detect_label_format(b'{"labels": [], "score": 1, "mig_jax": {"labels": []}}') == "plain"
    assert list(LABEL_FORMATS) == ["mig_jax", "xsample", "plain"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(0, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
_LABELS_OF_RECORD = st.lists(st.text("ab", max_size=2), max_size=3) | _JSON
_NAMED = st.tuples(st.just("labels"), _LABELS_OF_RECORD) | st.tuples(
    st.just("score"), st.floats(0, 9) | _JSON
)


def _object(pairs: list[tuple[str, Any]]) -> str:
    return "{" + ", ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in pairs) + "}"


@given(st.lists(_NAMED, max_size=6), st.lists(st.lists(_NAMED, max_size=4), max_size=3))
def test_of_a_name_given_twice_the_last_value_counts(
    own: list[tuple[str, Any]], ours: list[list[tuple[str, Any]]]
) -> None:
    inner = [f'"mig_jax": {_object(pairs)}' for pairs in ours]
    line = "{" + ", ".join([*inner, _object(own)[1:-1]] if own else inner) + "}"
    # Python's own reader takes the last; what it gives has every name once.
    once = json.dumps(json.loads(line)).encode()
    for layout in ("plain", "mig_jax"):
        reader = LABEL_FORMATS[layout]
        outcomes = []
        for text in (line.encode(), once):
            try:
                outcomes.append(str(reader.decode(text)))
            except BadRecord as bad:
                outcomes.append(str(bad))
        assert outcomes[0] == outcomes[1]
        fast = reader.parse(line.encode())
        if fast is not None:
            assert reader.parse(once) == fast


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"labels": [], "score": 1}', "field mig_jax: missing, expected an object with labels"),
        (b'{"mig_jax": null}', "field mig_jax: found null, expected an object with labels and"),
        (b'{"mig_jax": {"score": 1}}', "field mig_jax.labels: missing, expected a list of strings"),
        (
            b'{"mig_jax": {"labels": ["a", 1], "score": 1}}',
            "field mig_jax.labels[1]: found a number, expected a string",
        ),
        (
            b'{"mig_jax": {"labels": [], "score": -1}}',
            "field mig_jax.score: found -1, expected a finite number of at least 0",
        ),
        (
            b'{"mig_jax": {"labels": [], "score": 1e300}}',
            "field mig_jax.score: found 1e+300, expected at most 3.4e38 (float32)",
        ),
    ],
)
def test_bad_records_of_layout_mig_jax(line: bytes, told: str) -> None:
    for decode in (decode_mig_jax, lambda text: convert_mig_jax(json.loads(text))):
        with pytest.raises(BadRecord) as caught:
            decode(line)
        assert str(caught.value).startswith(told)


def test_layout_mig_jax_takes_its_object() -> None:
    line = b'{"labels": 3, "mig_jax": {"score": 2, "labels": ["b", "a", "b"]}, "score": "x"}'
    assert decode_mig_jax(line) == (["b", "a"], 2.0)
    assert convert_mig_jax(json.loads(line)) == (["b", "a"], 2.0)


@pytest.mark.parametrize("line", [b"{}", b'{"labels": []}', b'{"annotation": {"instag": 1}}'])
def test_layout_that_no_field_tells(line: bytes) -> None:
    with pytest.raises(BadRecord, match="the fields of no layout were found; expected mig_j"):
        detect_label_format(line)


def test_layout_of_a_malformed_line() -> None:
    with pytest.raises(BadRecord, match="JSON is truncated; expected one JSON object a line"):
        detect_label_format(b'{"labels": []')
