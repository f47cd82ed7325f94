"""How far tags found by a tagger agree with those that people gave.

    python -m experiments.tag_agreement --pool=stackexchange.jsonl.gz --embedding_model=NAME

The vocabulary is all tags that people gave in the pool. For a record with n of them each
tagger names its n likeliest, from what was asked alone; agreement is the share of them that
people gave, its mean over records (R-precision: precision, recall and F1 in one, without a
threshold to choose). Compared are

* embedding: the labels nearest by sentence embedding, as `mig-jax annotate` finds them;
* bag of words: the labels nearest by cosine of TF-IDF vectors; labels that share no word
  with the question are not named;
* commonest: the n commonest tags of the pool, for every record;
* shuffled: the embedding's tags, each record getting those of another, which is chance for
  a tagger that names what it names as often as it does.

An interval is that of 95 % from 1,000 bootstrap samples of the records. With --skip=1 the same
is told without the first label of each record, which in our Stack Exchange pool is the site.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from mig_jax import data
from mig_jax.annotation.embedding import nearest_labels
from mig_jax.annotation.samples import Sample, exchanges_of
from mig_jax.annotation.sentence_encoder import SentenceEncoder
from mig_jax.errors import InputError
from mig_jax.terminal import progress_bar

_POOL = flags.DEFINE_multi_string("pool", [], "Files of records whose labels people gave.")
_MODEL = flags.DEFINE_string(
    "embedding_model",
    "sentence-transformers/all-MiniLM-L6-v2",
    "Sentence-transformers model, by name or folder.",
)
_SKIP = flags.DEFINE_integer("skip", 0, "First labels of a record that are left out.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the shuffling and of the bootstrap.")
_SAMPLES = 1000
_A_REPORT = 64


def agreement(named: Sequence[Sequence[int]], given: Sequence[Sequence[int]]) -> np.ndarray:
    """Of each record the share of the tags given that are named: float64 [records].

    Where k tags were given, the first k that are named count.

    >>> agreement([[2, 0, 1]], [[0, 1]]).tolist()
    [0.5]
    """
    return np.array(
        [
            len(set(names[: len(truth)]) & set(truth)) / len(truth)
            for names, truth in zip(named, given, strict=True)
        ]
    )


def bag_of_words_similarity(texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Cosine of the TF-IDF vectors of texts and labels: float64 [texts, labels]."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    found = vectorizer.fit_transform(texts)
    return (found @ vectorizer.transform(labels).T).toarray()


def interval(values: np.ndarray, random: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    drawn = random.integers(len(values), size=(_SAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _embed(encode: SentenceEncoder, texts: Sequence[str]) -> np.ndarray:
    found = []
    with progress_bar("embedding", len(texts), unit="texts") as bar:
        for start in range(0, len(texts), _A_REPORT):
            found.append(encode(texts[start : start + _A_REPORT]))
            bar.update(len(found[-1]))
    return np.concatenate(found)


def _run(argv: Sequence[str]) -> None:
    if argv[1:]:
        raise InputError(f"{argv[1]}: expected flags only, as --flag=value")
    questions, tags = [], []
    for record in data.read_conversations(_POOL.value):
        if record.labels and (exchanges := exchanges_of(record.turns)):
            questions.append(Sample(exchanges).instruction)
            tags.append(record.labels)
    counts = Counter(tag for of_one in tags for tag in of_one)
    vocabulary = sorted(counts, key=lambda tag: (-counts[tag], tag))
    place = {tag: number for number, tag in enumerate(vocabulary)}
    given = [[place[tag] for tag in of_one] for of_one in tags]

    encode = SentenceEncoder(_MODEL.value)
    similarity = _embed(encode, questions) @ encode(vocabulary).T
    words = bag_of_words_similarity(questions, vocabulary)
    report(similarity, words, given, _SKIP.value, np.random.default_rng(_SEED.value))


def report(
    similarity: np.ndarray,
    words: np.ndarray,
    given: list[list[int]],
    skip: int,
    random: np.random.Generator,
) -> None:
    """Prints how all taggers agree with the tags given; labels are numbered commonest first."""
    most = max(map(len, given))
    for skipped in dict.fromkeys((0, skip)):
        out = {tag for truth in given for tag in truth[:skipped]}
        left = [[tag for tag in truth[skipped:] if tag not in out] for truth in given]
        rows = [row for row, truth in enumerate(left) if truth]
        truth = [left[row] for row in rows]
        size = similarity.shape[1] - len(out)
        a_record = sum(map(len, truth)) / len(truth)
        print(f"{len(rows):,} records, {size:,} tags, {a_record:.2f} a record, {skipped} skipped")
        near = nearest_labels(_without(similarity[rows], out), most, -1.0, 3.0)
        # A similarity of 0 is that of labels without a common word.
        matched = nearest_labels(_without(words[rows], out), most, 1e-9, 3.0)
        frequent = [tag for tag in range(similarity.shape[1]) if tag not in out][:most]
        for name, named in (
            ("embedding", near),
            ("bag of words", matched),
            ("commonest", [frequent] * len(truth)),
            ("shuffled", [near[row] for row in random.permutation(len(near))]),
        ):
            found = agreement(named, truth)
            low, high = interval(found, random)
            print(f"  {name:<14}{found.mean():.3f}  ({low:.3f} to {high:.3f})")


def _without(similarity: np.ndarray, out: set[int]) -> np.ndarray:
    kept = similarity.copy()
    kept[:, sorted(out)] = -2.0
    return kept


def main(arguments: list[str]) -> int:
    """Runs the program and returns its exit status: 0, or 2 for input that cannot be used."""
    try:
        _run(arguments)
    except InputError as error:
        print(f"tag_agreement: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    app.run(main)
