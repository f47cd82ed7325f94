"""Batches read in parts, by whoever: the same as when all is read in one go."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import os
import pickle
import random

import pytest

from mig_jax import annotation, data
from mig_jax.annotation import (
    EmbeddingTagger,
    Kept,
    Length,
    MadeWhereUsed,
    ModelOptions,
    Needs,
    PoolBatches,
    SentenceEncoder,
    annotate_batch,
)
from mig_jax.errors import InputError
from tests.annotation.tiny_models import tiny_sentence_encoder


def _pool(folder, sizes):
    """Writes files of these many records, every third compressed; the number is what is asked."""
    numbers, paths = itertools.count(), []
    for place, size in enumerate(sizes):
        path = folder / f"{place}.jsonl{'' if place % 3 else '.gz'}"
        lines = [
            json.dumps({"instruction": f"q{next(numbers)}", "output": "a"}) for _ in range(size)
        ]
        # What cannot be used is skipped, and has no number.
        lines.insert(size // 2, "{}")
        with (open if place % 3 else gzip.open)(path, "wt") as stream:
            stream.write("\n".join(lines) + "\n")
        paths.append(str(path))
    return paths


def _batches(paths, stays, size):
    read = functools.partial(data.read_conversations, on_bad_record="skip")
    kept, answers = Kept(), iter(stays)
    files = data.open_files(paths)
    for record in read(files):
        kept.add(next(answers), record.path)
    return PoolBatches(files, kept, Needs(), size, data.open_files, read)


@pytest.mark.parametrize("seed", range(12))
def test_parts_have_the_batches_of_the_whole(tmp_path, monkeypatch, seed):
    rng = random.Random(seed)
    sizes = [rng.choice([1, 2, 3, 7, 20]) for _ in range(rng.randint(1, 8))]
    monkeypatch.chdir(tmp_path)
    paths = [os.path.relpath(path) for path in _pool(tmp_path, sizes)]
    stays = [rng.random() < 0.8 for _ in range(sum(sizes))]
    stays[rng.randrange(len(stays))] = True
    size = rng.randint(1, 9)
    asked = [f"q{number}" for number, stay in enumerate(stays) if stay]
    whole = [asked[start : start + size] for start in range(0, len(asked), size)]
    batches = _batches(paths, stays, size)
    (tmp_path / "elsewhere").mkdir()
    for done in {0, rng.randrange(len(whole)) * size, len(asked)}:
        parts = batches.parts(done)
        shipped = pickle.dumps(parts)
        # Read in any order, by a process that works elsewhere.
        with monkeypatch.context() as moved:
            moved.chdir(tmp_path / "elsewhere")
            found = {
                part.first + place: batch
                for part in random.Random(seed).sample(pickle.loads(shipped), len(parts))
                for place, batch in enumerate(part)
            }
        first = -(-done // size)
        assert sorted(found) == list(range(first, len(whole)))
        assert [[one.instruction for one in found[place].samples] for place in sorted(found)] == (
            whole[first:]
        )
        assert sum(part.batches for part in parts) == len(found)
        assert len(parts) <= len(paths)
    # Places are told by the names that were given.
    number = stays.index(True)
    [file] = [place for place, end in enumerate(itertools.accumulate(sizes)) if end > number][:1]
    line = number - sum(sizes[:file]) + 1
    line += line > sizes[file] // 2
    assert next(iter(batches.parts(0)[0])).places[0] == f"{paths[file]}, line {line}"


def test_another_file_on_a_machine_is_refused(tmp_path):
    path, other = _pool(tmp_path, [5, 5])
    [part] = _batches([path], [True] * 5, 2).parts(0)
    assert len(list(part)) == 3
    with open(other, "rb") as stream, gzip.open(path, "wb") as changed:
        changed.write(stream.read())
    with pytest.raises(InputError, match=r"0.jsonl.gz: is another file on .* than where the com"):
        next(iter(part))
    os.remove(path)
    with pytest.raises(InputError, match="no such file"):
        next(iter(part))


def _options(**given):
    usual = dict.fromkeys(ModelOptions.__dataclass_fields__)
    return ModelOptions(**{**usual, "max_tokens": 512, "device": "cpu", **given})


def test_what_is_made_where_it_is_used_is_not_made_before(tmp_path, monkeypatch):
    made = []

    def length(options):
        made.append(options)
        return Length()

    monkeypatch.setitem(annotation.SCORERS, "length", length)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    given = _options(ifd_model="model", instag_model="owner/model")
    scorer = pickle.loads(pickle.dumps(MadeWhereUsed("scorer", "length", given)))
    assert not made
    [part] = _batches(_pool(tmp_path, [3]), [True] * 3, 3).parts(0)
    [batch] = part
    for _ in range(2):
        found = annotate_batch(batch, annotation.TAGGERS["keep"](given), {"length": scorer})
    assert [one.scores["length"] for one in found] == [[1.0]] * 3
    # Once, and by paths that lead there from any folder.
    [options] = made
    assert options.ifd_model == str(tmp_path / "model")
    assert options.instag_model == "owner/model"


def test_what_embeds_travels_by_the_place_of_its_model(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    folder = tiny_sentence_encoder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    encoder = SentenceEncoder("model", device="cpu")
    tagger = EmbeddingTagger(["label graph", "score"], encoder, similarity=-1.0, margin=2.0)
    shipped = pickle.dumps((tagger, annotation.Relevance(encoder)))
    assert len(shipped) < 10_000 < sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    monkeypatch.chdir("/")
    again, relevance = pickle.loads(shipped)
    [part] = _batches(_pool(tmp_path, [3]), [True] * 3, 3).parts(0)
    [(samples, _)] = part
    assert again.tag(samples) == tagger.tag(samples)
    assert relevance.score(samples) == annotation.Relevance(encoder).score(samples)
