"""What a raw pool would have made of it before a selection: how many records, in what time."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence

from mig_jax import data
from mig_jax.commands.expected_cost import told_seconds
from mig_jax.commands.flag_values import amount_of
from mig_jax.commands.pool_inputs import check_budget, check_raw, read_table
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import listed, progress_bar, silent
from mig_jax.reports import counted

__all__ = ["RawPlan", "read_plan_of_raw"]

# Records that are annotated to see how long it takes: what is left of the first is the start, which
# does not grow, as looking at a sample of the pool.
_FEWER, _MORE = 500, 2_000


@dataclasses.dataclass(frozen=True)
class RawPlan:
    """What would be annotated."""

    records: int  #: All of the pool, bad ones included.
    files: int
    lacking: list[str]
    read_as: str
    perhaps: str  #: Flags that might tell where it is after all.
    sampled: int
    kept: bool  #: In the cache, for the next run.
    bad: int  #: Of the sample.
    stops: bool  #: Whether a bad record ends the run.
    labels: int  #: That the sample was given.
    seconds: float  #: For all.
    budget: str

    def told(self) -> Iterator[tuple[str, str]]:
        """Names and texts."""
        in_files = f" in {self.files:,} files" if self.files > 1 else ""
        yield "records", f"{self.records:,}{in_files}, without {listed(self.lacking)}"
        if self.read_as:
            yield "read", self.read_as
        guess = f"; if they have them, perhaps {self.perhaps} tells where" if self.perhaps else ""
        made = "as `mig-jax annotate` does" + ", and kept in the cache" * self.kept
        yield "annotation", f"of all {self.records:,} records first, {made}{guess}"
        about = (
            f"a sample of {counted(self.sampled, 'record')} gets {counted(self.labels, 'label')}"
        )
        bad = f"; {self.bad:,} of them cannot be used" if self.bad else ""
        bad += (
            ", which stops the run (--on_bad_record=skip goes on)"
            if self.bad and self.stops
            else ""
        )
        yield "labels", about + bad
        yield "budget", self.budget
        yield "time", f"about {told_seconds(self.seconds)} to annotate, by that sample"
        yield "", "of the selection more is known once that is done"


def read_plan_of_raw(options: SelectOptions) -> RawPlan | None:
    """What would be annotated; None if nothing would, or it was before and is in the cache.

    Raises:
      InputError: if the pool cannot be used, or not with these flags.
    """
    if not options.pool:
        return None
    files = options.sources
    lacking = data.lacking(files, options.fields, options.format)
    if not lacking.what:
        return None
    check_raw(options, lacking)
    if _is_kept(options, files, lacking):
        return None
    count, sample = _counted_sample(files, _MORE)
    budget = "in tokens: known once the records are read"
    if options.budget is not None:
        records = amount_of(options.budget, count)
        check_budget(records, count)
        budget = f"{records:,} of {count:,} records"
    few, _ = _timed(options, sample[:_FEWER])
    all_of_sample, table = _timed(options, sample)
    more = max(len(sample) - _FEWER, 1)
    slope = max(all_of_sample - few, 0) / more if len(sample) > _FEWER else 0.0
    return RawPlan(
        records=count,
        files=len(files),
        lacking=["scores" if name == "score" else name for name in sorted(lacking.what)],
        read_as=_read_as(options, sample),
        perhaps=lacking.perhaps,
        sampled=len(sample),
        kept=options.cache_folder is not None,
        bad=table.records_skipped,
        stops=options.on_bad_record == "error",
        labels=table.num_labels,
        seconds=all_of_sample + slope * (count - len(sample)),
        budget=budget,
    )


def _is_kept(
    options: SelectOptions, files: Sequence[data.RecordFile], lacking: data.Lacking
) -> bool:
    from mig_jax.commands.raw_pools import NotKeptError, annotated_table

    rejects = io.BytesIO() if options.on_bad_record == "skip" else None
    try:
        with silent(True):
            annotated_table(
                options, files, lacking, rejects, fits=options.written_form, only_kept=True
            )
    except NotKeptError:
        return False
    return True


def _counted_sample(files: Sequence[data.RecordFile], most: int) -> tuple[int, list[bytes]]:
    """How many records there are, and the texts of some, each as likely to be among them."""
    chance, count = random.Random(0), 0
    sample: list[bytes] = []
    with progress_bar("counting records", None, unit="records") as bar:
        for file in files:
            for line in file.scan():
                count += 1
                bar.update()
                if len(sample) < most:
                    sample.append(line.text)
                elif (place := chance.randrange(count)) < most:
                    sample[place] = line.text
    chance.shuffle(sample)
    return count, sample


def _read_as(options: SelectOptions, texts: Sequence[bytes]) -> str:
    readings = data.records.Readings()
    for text in texts:
        with contextlib.suppress(data.BadRecord):
            record = data.parse_record(text)
            readings.add(data.decode_conversation(record, options.fields))
    return data.records.told_readings(readings.counts())


def _timed(options: SelectOptions, texts: Sequence[bytes]) -> tuple[float, data.RecordTable]:
    """Annotates these records and keeps nothing: the seconds, and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sample.jsonl")
        with open(path, "wb") as stream:
            stream.writelines(text.replace(b"\n", b" ") + b"\n" for text in texts)
        alone = dataclasses.replace(options, pool=[path], cache="none", on_bad_record="skip")
        start = time.perf_counter()
        with silent(True):
            table = read_table(alone, None)
        return time.perf_counter() - start, table
