"""Files to begin with, and what is done to them. All randomness is that of the generator given."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Bytes = Callable[[random.Random], bytes]

LABELS = ["maths", "code", "ünïcode", "逻辑", "", "a b", "b\n", "mathé"]
_TURNS = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4 😀"}]


def plain(rng: random.Random) -> dict[str, Any]:
    """A record with labels and a score in fields of their own."""
    labels = rng.choices(LABELS, k=rng.randrange(4))
    score = rng.choice([0, 1, 4.5, 1e-3, 2.25e8, rng.random()])
    record = {"id": rng.randrange(99), "labels": labels, "score": score, "messages": _TURNS}
    if rng.random() < 0.3:
        record["extra"] = {"deep": [1, None, True, {"x": "y"}], "n": -0.0}
    return record


def annotated(rng: random.Random) -> dict[str, Any]:
    """A record with labels and scores in an annotation."""
    turns = rng.randrange(1, 4)
    deita = {
        name: [round(rng.uniform(0, 6), 2) for _ in range(turns)]
        for name in ("quality_scores", "complexity_scores")
    }
    labels = {"content": rng.choices(LABELS, k=rng.randrange(4))}
    return {"dialogs": _TURNS, "annotation": {"instag": labels, "deita": deita}}


def records(rng: random.Random) -> list[dict[str, Any]]:
    kind = rng.choice([plain, plain, annotated])
    return [kind(rng) for _ in range(rng.randrange(1, 7))]


def lines(rng: random.Random) -> bytes:
    ascii_only, end = rng.random() < 0.5, rng.choice(["\n", "\n", "\r\n"])
    text = end.join(json.dumps(record, ensure_ascii=ascii_only) for record in records(rng))
    return (text + rng.choice(["", end, end * 2])).encode()


def array(rng: random.Random) -> bytes:
    text = json.dumps(records(rng), ensure_ascii=False, indent=rng.choice([None, None, 1]))
    return text.encode()


# Numbers, strings and structures that parsers stumble over.
_NONSENSE = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"-0", b"-0.0", b"1e-400", b"5e-324"),
    *(b"3.4028235e38", b"3.4028236e38", b"1e39", b"01", b"1.", b".5", b"+1", b"1e", b"0x10"),
    *(b"18446744073709551616", b"9" * 400, b"1" + b"0" * 5000, b"true", b"null", b'"4.5"', b"[]"),
    *(b"{}", b'""', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\x00"', b'"\t"', b"'x'"),
    *(b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\\x"', b'"\\u12"', b"[[[]]]", b"[1,]"),
    *(
        b'{"labels": ["x"], "score": 1}',
        b'"\xe2\x80\xa8"',
        b'"\xef\xbb\xbf"',
        b"[null]",
        b'["a", 1]',
    ),
]
_CUTS = [
    b"\n",
    b"\r",
    b"\r\n",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\x00",
    b" ",
    b"",
]


def _a_token(rng: random.Random, text: bytes) -> tuple[int, int]:
    """Where a value begins and ends, or nearly."""
    start = rng.randrange(len(text) + 1)
    found = [place for cut in b",:[{" if (place := text.find(cut, start)) >= 0]
    start = min(found, default=start - 1) + 1
    found = [place for cut in b",]}" if (place := text.find(cut, start)) >= 0]
    return start, min(found, default=len(text))


def _replaced(rng: random.Random, text: bytes) -> bytes:
    start, end = _a_token(rng, text)
    return text[:start] + rng.choice(_NONSENSE) + text[end:]


def _score(rng: random.Random, text: bytes) -> bytes:
    start = text.find(b'"score": ', rng.randrange(len(text) + 1))
    if start < 0:
        return _replaced(rng, text)
    start += len(b'"score": ')
    end = min((p for cut in b",}" if (p := text.find(cut, start)) >= 0), default=len(text))
    return text[:start] + rng.choice(_NONSENSE) + text[end:]


def _named_twice(rng: random.Random, text: bytes) -> bytes:
    start = text.find(b"{", rng.randrange(len(text) + 1)) + 1
    name = rng.choice([b"labels", b"score", b"annotation", b"messages", b"\\u006cabels", b"id"])
    value = rng.choice([*_NONSENSE, b'["other"]', b"7"])
    return text[:start] + b'"' + name + b'": ' + value + b", " + text[start:]


def _nested(rng: random.Random, text: bytes) -> bytes:
    depth = rng.choice([10, 900, 1100, 5000, 100_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    start, end = _a_token(rng, text)
    whole = rng.random() < 0.7
    return text[:start] + opening * depth + b"1" + closing * (depth * whole) + text[end:]


def _encoded(rng: random.Random, text: bytes) -> bytes:
    way = rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1"])
    return text.decode("utf-8", "replace").encode(way, "replace")


def _broken_elsewhere(rng: random.Random, text: bytes) -> bytes:
    place = rng.choice([0, rng.randrange(len(text) + 1), text.find(b"\n") + 1])
    return text[:place] + rng.choice([b"\xef\xbb\xbf", b"\xff", *_CUTS]) + text[place:]


def _flipped(rng: random.Random, text: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, text: bytes) -> bytes:
    return text[: rng.randrange(len(text) + 1)]


def _left_out(rng: random.Random, text: bytes) -> bytes:
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.choice([1, 1, 4, 64]) :]


def _inserted(rng: random.Random, text: bytes) -> bytes:
    start = rng.randrange(len(text) + 1)
    more = rng.choice([rng.randbytes(rng.randrange(1, 9)), b"\x00" * 8, rng.choice(_CUTS)])
    return text[:start] + more + text[start:]


def _repeated(rng: random.Random, text: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:end] + text[start:end] * rng.choice([1, 1, 30]) + text[end:]


def _extreme(rng: random.Random, text: bytes) -> bytes:
    """Some bytes as a number at the end of its range: sizes and offsets of binary files."""
    width = rng.choice([1, 2, 4, 8])
    start = rng.randrange(max(len(text) - width, 0) + 1)
    value = rng.choice([0, 1, (1 << 8 * width) - 1, (1 << (8 * width - 1)) - 1])
    return (
        text[:start] + value.to_bytes(width, rng.choice(["little", "big"])) + text[start + width :]
    )


_OF_BYTES = [_flipped, _cut, _left_out, _inserted, _repeated, _extreme]
_OF_TEXT = [*_OF_BYTES, _replaced, _score, _named_twice, _nested, _encoded, _broken_elsewhere]


def _mutated(rng: random.Random, seed: Bytes, ways: list[Any]) -> bytes:
    """A seed with a mutation or some; now and then none, or two seeds spliced."""
    text = seed(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        text = rng.choice([*ways, _score] if ways is _OF_TEXT else ways)(rng, text)
    if rng.random() < 0.1:
        other = seed(rng)
        text = text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]
    return text


def mutated_lines(rng: random.Random) -> bytes:
    return _mutated(rng, lines, _OF_TEXT)


def mutated_array(rng: random.Random) -> bytes:
    return _mutated(rng, array, _OF_TEXT)


def csv_rows(rng: random.Random) -> bytes:
    """Rows with labels as JSON, and a text with what CSV must quote."""
    stream = io.StringIO(newline="")
    rows = csv.writer(
        stream,
        lineterminator=rng.choice(["\n", "\r\n"]),
        quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    rows.writerow(["labels", "score", "instruction", "output"])
    for _ in range(rng.randrange(6)):
        record = plain(rng)
        text = rng.choice(["a, b", 'say "it"', "two\nlines", "", "ünï", "[1]", "7"])
        labels = json.dumps(record["labels"], ensure_ascii=rng.random() < 0.5)
        rows.writerow([labels, record["score"], text, text])
    return stream.getvalue().encode()


def _cell(rng: random.Random, text: bytes) -> bytes:
    """Another text between two commas, or a quote where none belongs."""
    places = [place for place, byte in enumerate(text) if byte in b",\n"] or [0]
    start = rng.choice(places) + 1
    more = rng.choice([*_NONSENSE, b'"', b'""', b",", b'"a"b', b"'", b";", b'"\n"', b"=1+1"])
    return text[:start] + more + text[start + rng.choice([0, 0, 2]) :]


def mutated_csv(rng: random.Random) -> bytes:
    return _mutated(rng, csv_rows, [*_OF_BYTES, _cell, _cell, _encoded, _broken_elsewhere])


def _gzip(rng: random.Random) -> bytes:
    text = mutated_lines(rng)
    half = len(text) // 2
    members = [text] if rng.random() < 0.7 else [text[:half], text[half:], b""]
    end = rng.choice([b"", b"", b"", b"\x00" * 512, b"garbage", gzip.compress(b"")])
    return b"".join(gzip.compress(member, rng.choice([0, 1, 9])) for member in members) + end


def mutated_gzip(rng: random.Random) -> bytes:
    return _gzip(rng) if rng.random() < 0.5 else _mutated(rng, _gzip, _OF_BYTES)


def _zstd(rng: random.Random) -> bytes:
    text = mutated_lines(rng)
    half = len(text) // 2
    frames = [text] if rng.random() < 0.7 else [text[:half], text[half:]]
    written = []
    for frame in frames:
        options = {"write_content_size": rng.random() < 0.5, "write_checksum": rng.random() < 0.5}
        written.append(
            zstandard.ZstdCompressor(level=rng.choice([1, 3]), **options).compress(frame)
        )
        if rng.random() < 0.2:
            size = rng.choice([0, 5, 5, 0xFFFFFFFF])  # What a skippable frame claims.
            written.append(struct.pack("<II", 0x184D2A50 + rng.randrange(16), size) + b"extra")
    return b"".join(written)


def mutated_zstd(rng: random.Random) -> bytes:
    return _zstd(rng) if rng.random() < 0.5 else _mutated(rng, _zstd, _OF_BYTES)


def _parquet(rng: random.Random) -> bytes:
    rows = [plain(rng) for _ in range(rng.randrange(6))]
    labels = pa.array([row["labels"] for row in rows], pa.list_(pa.string()))
    scores = pa.array([float(row["score"]) for row in rows], pa.float64())
    label_types = [
        *(pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.binary())),
        *(pa.list_(pa.dictionary(pa.int8(), pa.string())), pa.string(), pa.list_(pa.string_view())),
    ]
    score_types = [
        *(pa.float64(), pa.float32(), pa.float16(), pa.int8(), pa.int64(), pa.uint64(), pa.bool_()),
        *(pa.string(), pa.decimal128(20, 3), pa.date32(), pa.timestamp("ns"), pa.duration("s")),
    ]
    labels = _cast(labels, rng.choice(label_types)) if rng.random() < 0.4 else labels
    if rng.random() < 0.3:
        odd = rng.choice([float("nan"), float("inf"), -1.0, -0.0, None, 1e39, 5e-324])
        numbers = [odd if rng.random() < 0.5 else number for number in scores.to_pylist()]
        scores = pa.array(numbers, pa.float64())
    scores = _cast(scores, rng.choice(score_types)) if rng.random() < 0.4 else scores
    columns = {"labels": labels, "score": scores, "id": pa.array(range(len(rows)), pa.int64())}
    if rng.random() < 0.2:
        columns["when"] = pa.array(
            [rng.choice([0, 2**52, -(2**52)]) for _ in rows], pa.timestamp("s")
        )
    if rng.random() < 0.1:
        del columns[rng.choice(list(columns))]
    stream = io.BytesIO()
    codec = rng.choice(["none", "snappy", "zstd", "gzip"])
    pq.write_table(
        pa.table(columns), stream, compression=codec, row_group_size=rng.choice([1, 2, 1024])
    )
    return stream.getvalue()


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return column.cast(kind, safe=False)
    except (pa.ArrowException, TypeError):
        return column


def mutated_parquet(rng: random.Random) -> bytes:
    content = _parquet(rng)
    if rng.random() < 0.4:
        return content
    if rng.random() < 0.5:  # In the footer, which all else depends on.
        place = max(len(content) - 8 - struct.unpack("<I", content[-8:-4])[0], 0)
        tail = content[place:]
        return content[:place] + rng.choice(_OF_BYTES)(rng, tail)
    return rng.choice(_OF_BYTES)(rng, content)


def _npy(rng: random.Random, array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=rng.choice([None, (1, 0), (2, 0)]))
    content = stream.getvalue()
    way = rng.random()
    if way < 0.75:
        return content
    if way < 0.9:  # In the header.
        head = 10 + struct.unpack("<H", content[8:10])[0]
        return rng.choice([*_OF_BYTES, _shape])(rng, content[:head]) + content[head:]
    return rng.choice(_OF_BYTES)(rng, content)


def _shape(rng: random.Random, head: bytes) -> bytes:
    """Another shape or kind is claimed, of the same length."""
    claims = [
        b"(10**9,)",
        b"(-1,)",
        b"(99999999999999,)",
        b"()",
        b"(0, 4611686018427387904)",
        b"(3,)",
    ]
    kinds = [b"'|O'", b"'<U0'", b"'<U99999'", b"'>f8'", b"'<c16'", b"'<M8[s]'", b"'|V0'", b"'S4'"]
    before, marker, rest = head.partition(b"'shape': ")
    _, _, after = rest.partition(b")")
    if rng.random() < 0.5:
        before, marker_of_kind, rest_of_kind = before.partition(b"'descr': ")
        _, comma, behind = rest_of_kind.partition(b",")
        before = before + marker_of_kind + rng.choice(kinds) + comma + behind
        return (before + marker + rest).ljust(len(head))[: len(head)]
    return (before + marker + rng.choice(claims) + after).ljust(len(head))[: len(head)]


def _npz(rng: random.Random) -> bytes:
    names = rng.sample(["maths", "code", "ü", "x" * 30, "", "b"], rng.randrange(1, 6))
    if rng.random() < 0.2:
        names += names[:1]
    kind = rng.choice(["f4", "f8", "f2", ">f4", "i4", "g"])
    if rng.random() < 0.1:
        kind = rng.choice(["c8", "U3", "?", "M8[s]"])
    vectors = np.array([[rng.uniform(-5, 5) for _ in range(3)] for _ in names]).astype(kind)
    if rng.random() < 0.2 and kind in ("f4", "f8"):
        vectors[rng.randrange(len(names))] = rng.choice([0, np.nan, np.inf, 3e38, 1e-40, 1e-320])
    if rng.random() < 0.3:
        vectors = np.asfortranarray(vectors)
    labels = np.array(names, rng.choice([None, None, "U8", ">U40"]))
    if rng.random() < 0.05:
        labels = np.char.encode(labels, "utf-8")
    stream = io.BytesIO()
    way = rng.choice(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    with zipfile.ZipFile(stream, "w", way) as archive:
        archive.writestr("labels.npy", _npy(rng, labels))
        archive.writestr("embeddings.npy", _npy(rng, vectors))
        if rng.random() < 0.1:
            archive.writestr("more.npy", zlib.compress(b"x"))
    return stream.getvalue()


def mutated_npz(rng: random.Random) -> bytes:
    return _npz(rng) if rng.random() < 0.6 else _mutated(rng, _npz, _OF_BYTES)
