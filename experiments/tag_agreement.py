"""How far tags found by a tagger agree with those that people gave.

    python -m experiments.tag_agreement --pool=stackexchange.jsonl.gz \
        --vocabulary=vocabulary.json --embedding_model=NAME --skip=1

Two measures, neither with a threshold to choose:

* Pairs. People chose from other tags than the tagger, so what is compared is which records
  have a tag in common, the only thing that a selection sees of tags: of all pairs of records,
  Cohen's kappa of "share a tag that people gave" and "share a tag that was found". It is 0 for
  agreement by chance and 1 for full agreement.
* Names. Given the tags of people as its vocabulary, a tagger names as many as people gave; the
  share of them that people gave, its mean over records (R-precision).

Compared are the labels nearest by sentence embedding, as `mig-jax annotate --tagger=embedding`
finds them by default; those that `--tagger=discover` finds in the questions themselves, with the
same model and without any, of which pairs alone are measured; the five nearest by cosine of
TF-IDF vectors that share a word with the question at all (bag of words); and the embedding's tags
of another record (shuffled), which is chance for a tagger that uses each tag as often as it does.
An interval is that of 95 % over bootstrap samples of the records. With --skip=1 the same is told
without the first label of each record, which in our Stack Exchange pool is the site. Memory is
three bytes a pair of records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from absl import app, flags

from mig_jax import data
from mig_jax.annotation import (
    Sample,
    SentenceEncoder,
    TextVectors,
    discover_labels,
    exchanges_of,
    nearest_labels,
)
from mig_jax.commands.flag_words import take_pool
from mig_jax.commands.terminal import exit_status, progress_bar
from mig_jax.errors import InputError

_POOL = flags.DEFINE_multi_string("pool", [], "Files of records whose labels people gave.")
_VOCABULARY = flags.DEFINE_string("vocabulary", None, "JSON list of the labels to be found.")
_MODEL = flags.DEFINE_string(
    "embedding_model",
    "sentence-transformers/all-MiniLM-L6-v2",
    "Sentence-transformers model, by name or folder.",
)
_SKIP = flags.DEFINE_integer("skip", 0, "First labels of a record that are left out.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the shuffling and of the bootstrap.")

_SAMPLES = 200
_A_REPORT = 64
_DEFAULTS = (5, 0.28, 0.12)  # As `mig-jax annotate` has them.

Tags = Sequence[Sequence[int]]  # Of each record, the nearest first.


def shared(tags: Tags) -> np.ndarray:
    """Which pairs of records have a tag in common: bool [records, records]."""
    import scipy.sparse

    rows = np.repeat(np.arange(len(tags)), [len(of_one) for of_one in tags])
    columns = np.array([tag for of_one in tags for tag in of_one], np.int64)
    entries = np.ones(len(rows), np.float32)
    has = scipy.sparse.csr_matrix((entries, (rows, columns)), (len(tags), columns.max() + 1))
    return (has @ has.T).toarray() > 0


def kappa(
    found: np.ndarray, given: np.ndarray, times: np.ndarray | None = None
) -> tuple[float, float, float]:
    """Cohen's kappa, precision and recall of `found` for `given`, over pairs of two records.

    Each record counts `times` [records]; a pair of it with itself does not.

    >>> same = np.array([[True, True, False], [True, True, False], [False, False, True]])
    >>> kappa(same, same)
    (1.0, 1.0, 1.0)
    """
    weights = np.ones(len(given)) if times is None else times

    def pairs(which: np.ndarray) -> float:
        off_diagonal = weights @ (which @ weights) - np.sum(weights**2 * np.diagonal(which))
        return float(off_diagonal)

    every = float(weights.sum() ** 2 - np.sum(weights**2))
    both, one, other = pairs(found & given), pairs(found), pairs(given)
    agree = (every - one - other + 2 * both) / every
    chance = (one * other + (every - one) * (every - other)) / every**2
    return (agree - chance) / (1 - chance), both / one, both / other


def named(found: Tags, given: Tags) -> np.ndarray:
    """Of each record the share of its k tags that are among the first k found: [records].

    >>> named([[2, 0, 1]], [[0, 1]]).tolist()
    [0.5]
    """
    return np.array(
        [
            len(set(names[: len(truth)]) & set(truth)) / len(truth)
            for names, truth in zip(found, given, strict=True)
        ]
    )


def bag_of_words_similarity(texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Cosine of the TF-IDF vectors of texts and labels: float64 [texts, labels]."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english")
    found = vectorizer.fit_transform(texts)
    return (found @ vectorizer.transform(labels).T).toarray()


def discovered(questions: Sequence[str], vectors: np.ndarray, seed: int) -> list[list[int]]:
    """The labels that are found in the questions themselves, by number."""
    labels = discover_labels(questions, vectors, seed=seed)
    number = {name: place for place, name in enumerate(labels.names)}
    return [[number[name] for name in names] for names in labels.of(vectors, _DEFAULTS[0])]


def report_pairs(
    similarity: np.ndarray,
    words: np.ndarray,
    others: Mapping[str, Tags],
    given: Tags,
    random: np.random.Generator,
) -> None:
    """Prints how records that share tags found share tags given.

    `similarity` and `words` are [records, labels]; `others` are found otherwise.
    """
    nearest = nearest_labels(similarity, *_DEFAULTS)
    truth = shared(given)
    draws = [
        np.bincount(random.integers(len(given), size=len(given)), minlength=len(given)).astype(
            np.float64
        )
        for _ in range(_SAMPLES)
    ]
    print("  pairs                 kappa                    precision  recall  tags a record")
    for name, tags in (
        ("embedding", nearest),
        *others.items(),
        # A similarity of 0 is that of labels without a common word.
        ("bag of words", nearest_labels(words, _DEFAULTS[0], 1e-9, 1.0)),
        ("shuffled", [nearest[row] for row in random.permutation(len(nearest))]),
    ):
        found = shared(tags)
        value, precision, recall = kappa(found, truth)
        low, high = np.quantile([kappa(found, truth, times)[0] for times in draws], [0.025, 0.975])
        size = sum(map(len, tags)) / len(tags)
        print(
            f"    {name:<19} {value:6.3f} ({low:6.3f} to {high:6.3f})"
            f"   {precision:.3f}      {recall:.3f}   {size:.2f}"
        )


def report_names(
    similarity: np.ndarray, words: np.ndarray, given: Tags, random: np.random.Generator
) -> None:
    """Prints how tags are named as people name them; labels are numbered as in `given`."""
    most = max(map(len, given))
    nearest = nearest_labels(similarity, most, -1.0, 2.0)
    print("  names           R-precision")
    for name, tags in (
        ("embedding", nearest),
        ("bag of words", nearest_labels(words, most, 1e-9, 1.0)),
        ("shuffled", [nearest[row] for row in random.permutation(len(nearest))]),
    ):
        found = named(tags, given)
        drawn = random.integers(len(found), size=(_SAMPLES, len(found)))
        low, high = np.quantile(found[drawn].mean(axis=1), [0.025, 0.975])
        print(f"    {name:<13} {found.mean():6.3f} ({low:6.3f} to {high:6.3f})")


def report(
    questions: Sequence[str],
    given: Sequence[Sequence[str]],
    vocabulary: Sequence[str],
    vectors: np.ndarray,
    encode: SentenceEncoder,
    others: Mapping[str, Tags],
    seed: int,
) -> None:
    """Prints both measures; `vectors` are the embeddings of the questions, `others` their tags."""
    own = sorted({tag for of_one in given for tag in of_one})
    place = {tag: number for number, tag in enumerate(own)}
    truth = [[place[tag] for tag in of_one] for of_one in given]
    random = np.random.default_rng(seed)
    print(f"{len(given):,} records, {len(own):,} tags that people gave")
    words = bag_of_words_similarity(questions, vocabulary)
    report_pairs(vectors @ encode(vocabulary).T, words, others, truth, random)
    words = bag_of_words_similarity(questions, own)
    report_names(vectors @ encode(own).T, words, truth, random)


def _run(arguments: Sequence[str]) -> None:
    take_pool(flags.FLAGS, arguments[1:])
    if _VOCABULARY.value is None:
        raise InputError("--vocabulary: missing, expected a JSON list of labels")
    vocabulary = data.read_vocabulary(_VOCABULARY.value)
    questions, given = [], []
    for record in data.read_conversations(_POOL.value):
        if record.labels and (exchanges := exchanges_of(record.turns)):
            questions.append(Sample(exchanges).instruction)
            given.append(record.labels)
    encode = SentenceEncoder(_MODEL.value)
    found = []
    with progress_bar("embedding", len(questions), unit="texts") as bar:
        for start in range(0, len(questions), _A_REPORT):
            found.append(encode(questions[start : start + _A_REPORT]))
            bar.update(len(found[-1]))
    vectors = np.concatenate(found)
    alone = TextVectors.fit(questions, seed=_SEED.value)(questions)
    others = {
        "discover, by model": discovered(questions, vectors, _SEED.value),
        "discover": discovered(questions, alone, _SEED.value),
    }
    for skip in dict.fromkeys((0, _SKIP.value)):
        first = {tag for tags in given for tag in tags[:skip]}
        left = [[tag for tag in tags if tag not in first] for tags in given]
        rows = [row for row, tags in enumerate(left) if tags]
        report(
            [questions[row] for row in rows],
            [left[row] for row in rows],
            vocabulary,
            vectors[rows],
            encode,
            {name: [tags[row] for row in rows] for name, tags in others.items()},
            _SEED.value,
        )


def main(arguments: list[str]) -> int:
    """Runs the program and returns its exit status: 0, or 2 for input that cannot be used."""
    return exit_status("tag_agreement", lambda: _run(arguments), interrupted="nothing was kept")


if __name__ == "__main__":
    app.run(main)
