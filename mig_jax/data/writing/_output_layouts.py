"""Records on their way out: put into an output layout, and looked at for trainers."""

from __future__ import annotations

from typing import Final

from mig_jax.data.records import (
    AS_IT_CAME,
    USUAL,
    FactoryReading,
    FieldNames,
    WrittenForm,
    parse_record,
    read_as_llama_factory,
    record_as_json,
    without_fields,
)
from mig_jax.data.writing._trainer_notes import TrainerNotes

__all__ = ["OUTPUT_LAYOUTS", "RecordConverter"]

# What a selection can be written as; None if records stay as they came.
OUTPUT_LAYOUTS: Final[dict[str, str | None]] = {
    "as_it_came": None,
    "messages": "messages",
    "sharegpt": "sharegpt",
    "alpaca": "alpaca",
    "prompt_completion": "prompt_completion",
    "parquet": None,
}


class RecordConverter:
    """Makes of each record the one that is written, and notes what trainers see in these."""

    def __init__(self, form: WrittenForm = AS_IT_CAME, names: FieldNames = USUAL) -> None:
        self._form = form
        self._names = names
        self._notes = TrainerNotes(as_they_came=form.layout is None and not form.for_llama_factory)
        self.readings: set[FactoryReading] = set()  #: If LLaMA-Factory must train on all.

    def __call__(self, record: bytes) -> bytes:
        """The record as it is written: a JSON object on one line.

        Raises:
          BadRecord: if it is not JSON, or the form cannot hold it.
        """
        form = self._form
        if form.layout is not None:
            record = record_as_json(form.written(parse_record(record), self._names))
        else:
            record = without_fields(record, form.without)
        if form.for_llama_factory:
            names = form.names_written(self._names)
            self.readings.add(read_as_llama_factory(parse_record(record), names))
        self._notes.add(record)
        return record

    @property
    def notes(self) -> list[str]:
        """What a trainer would misread in the records so far, a line each."""
        return self._notes.lines()
