"""Labels and scores for records that stay, a batch at a time, into the journal."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from mig_jax.annotation._on_all_cores import on_all_cores
from mig_jax.annotation.running._journal import Annotation, Journal
from mig_jax.annotation.running._pipeline import Needs, encodable
from mig_jax.annotation.texts import Rejected, Sample, Scorer, Tagger, is_blank
from mig_jax.data import RawRecord
from mig_jax.errors import InputError

__all__ = ["Batch", "annotate", "annotate_batch", "keep_batch"]

# So many records, the first of a run, are not all rejected for what they are.
_HOPELESS: Final = 20


class Batch(NamedTuple):
    """Successive records that stay, as taggers and scorers see them."""

    samples: list[Sample]
    places: list[str]  # How messages name each record.


def annotate(
    records: Iterator[RawRecord],
    needs: Needs,
    tagger: Tagger,
    scorers: Mapping[str, Scorer],
    journal: Journal,
    batch_size: int,
    progress: Callable[[int], None],
    workers: int | None = None,
) -> None:
    """Adds to the journal what is not there of the records, a batch at a time.

    If the tagger and all scorers are such that processes may have them (`Tagger`), they work on
    all cores as soon as that pays. The annotations are the same, however many work.

    Args:
      records: all that stay, those of the journal included.
      needs: what they have.
      tagger: gives their labels.
      scorers: give their scores, by name; they see these labels.
      journal: gets the annotations.
      batch_size: records that the models get at a time.
      progress: gets the records annotated so far.
      workers: the processes; None for one a core.

    Raises:
      InputError: if a scorer gives what is no score, or the first records are all rejected.
    """
    rest = itertools.islice(records, journal.done, None)
    progress(journal.done)
    batches = _batches(rest, needs, batch_size)
    work = functools.partial(annotate_batch, tagger=tagger, scorers=dict(scorers))
    models = (tagger, *scorers.values())
    if all(getattr(model, "in_processes", False) for model in models):
        found: Generator[list[Annotation]] = on_all_cores(work, batches, workers)
    else:
        found = (work(batch) for batch in batches)
    with contextlib.closing(found):
        for of_batch in found:
            keep_batch(of_batch, journal, is_last=len(of_batch) < batch_size)
            progress(journal.done)


def annotate_batch(batch: Batch, tagger: Tagger, scorers: Mapping[str, Scorer]) -> list[Annotation]:
    """What the models find of each record; a scorer is not asked for what is rejected already.

    Raises:
      InputError: if a scorer gives what is no score.
    """
    rejected: dict[int, str] = {}
    labels: dict[int, list[str]] = {}
    for number, tagged in enumerate(_labels_of(batch.samples, tagger)):
        if isinstance(tagged, Rejected):
            rejected[number] = tagged.reason
        else:
            labels[number] = tagged
    scores: list[dict[str, list[float]]] = [{} for _ in batch.samples]
    for name, scorer in scorers.items():
        numbers = [number for number in labels if number not in rejected]
        given = [batch.samples[number]._replace(labels=labels[number]) for number in numbers]
        for number, values in zip(numbers, scorer.score(given) if given else [], strict=True):
            if isinstance(values, Rejected):
                rejected[number] = values.reason
            else:
                scores[number][name] = _checked(name, values, batch.places[number])
    return [
        Annotation([], {}, encodable(rejected[number]))
        if number in rejected
        else Annotation(labels[number], scores[number])
        for number in range(len(batch.samples))
    ]


def keep_batch(found: Sequence[Annotation], journal: Journal, *, is_last: bool) -> None:
    """Adds the annotations of the next batch to the journal.

    Raises:
      InputError: if every record so far is rejected: it is not they that are to blame.
    """
    if all(one.rejected is not None for one in found) and journal.rejected == journal.done:
        done = journal.done + len(found)
        if done >= _HOPELESS or is_last:
            raise InputError(
                f"the first {done:,} records are all rejected; expected one at least that stays. "
                f"The first of these: {found[0].rejected}"
            )
    journal.append(found)


def _batches(records: Iterator[RawRecord], needs: Needs, size: int) -> Iterator[Batch]:
    while batch := list(itertools.islice(records, size)):
        yield Batch(list(map(needs.sample_of, batch)), [record.where for record in batch])


def _checked(name: str, values: Sequence[float], place: str) -> list[float]:
    """The values, with six digits: what comes behind them is the rounding of the machine.

    Raises:
      InputError: if they are no scores.
    """
    rounded = [float(f"{value:.6g}") for value in values]
    if not all(math.isfinite(value) and value >= 0 for value in rounded):
        raise InputError(
            f"--scorer={name}: gave {rounded} for {place}; expected finite numbers of at least 0"
        )
    return rounded


def _labels_of(samples: Sequence[Sample], tagger: Tagger) -> list[list[str] | Rejected]:
    """The labels of each sample; of one that asks nothing those that it has, if they are kept.

    A label of spaces is none.
    """
    asking = [sample for sample in samples if sample.asks]
    found = iter(tagger.tag(asking) if asking else [])
    labels = [next(found) if sample.asks else sample.labels or [] for sample in samples]
    return [
        of_one
        if isinstance(of_one, Rejected)
        else [encodable(label) for label in of_one if not is_blank(label)]
        for of_one in labels
    ]
