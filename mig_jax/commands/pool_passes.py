"""What select looks for in the whole pool, in a pass of its own, before and beside the picking."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec
import numpy as np

from mig_jax import data
from mig_jax.commands.pool_parts import own_picks
from mig_jax.commands.terminal import progress_bar
from mig_jax.devices import Hosts
from mig_jax.errors import InputError
from mig_jax.reports import counts_by_file, counts_by_value

__all__ = ["check_dataset_info", "counted"]


def check_dataset_info(
    table: data.RecordTable,
    form: data.WrittenForm,
    names: data.FieldNames,
    hosts: Hosts,
    *,
    as_rows: bool,
) -> None:
    """Checks that one entry of dataset_info.json can tell LLaMA-Factory of all records.

    `as_rows` tells that they are written as a table, of which it cannot load JSON text.

    Raises:
      InputError: in all processes, if the records of these differ too much for that.
    """

    def read() -> bytes:
        convert = data.RecordConverter(form, names)
        columns: defaultdict[str, data.files.JsonColumn] = defaultdict(data.files.JsonColumn)
        with progress_bar(
            "checking records for --dataset_info", table.num_records, unit="records"
        ) as bar:
            for record in data.each_record(table):
                written = convert(record)
                bar.update(1)
                if as_rows:
                    for name, value in data.parse_record(written).items():
                        columns[name].see(value)
        if mixed := [name for name, column in columns.items() if column.has_text]:
            raise InputError(
                f"--dataset_info: the objects or values in {', '.join(mixed)} differ in kind, and "
                "LLaMA-Factory cannot load a Parquet file of such; expected --output=FILE.jsonl"
            )
        return msgspec.json.encode(convert.readings)

    own = np.frombuffer(hosts.together(read), np.uint8)
    decoder = msgspec.json.Decoder(set[data.FactoryReading])
    every = set().union(*(decoder.decode(part.tobytes()) for part in hosts.gather(own)))
    data.dataset_info_entry(every, form.names_written(names), "")


def counted(
    table: data.RecordTable,
    picks: np.ndarray,
    count_by: str | None,
    hosts: Hosts,
    given: np.ndarray | None = None,
) -> dict[str, Any]:
    """The records and picks of each file, and of each value of a field, for the manifest.

    Args:
      table: this process's part of the pool.
      picks: int64 [N], records of the whole pool.
      count_by: the field, if there is one.
      hosts: the processes that hold the pool.
      given: bool, records of this part that are given; they are not counted, nor are files that
        hold no others.
    """
    num_files = len(table.files)
    every: Any = slice(None) if given is None else ~given
    own = own_picks(table.num_records, picks, hosts)
    records, kept = (
        np.sum(hosts.gather(np.bincount(table.file_index[which], minlength=num_files)), axis=0)
        for which in (every, own)
    )
    shown = [i for i in range(num_files) if records[i]]
    files = [table.files[i] for i in shown]
    told: dict[str, Any] = {"sources": counts_by_file(files, records[shown], kept[shown])}
    if count_by is not None:
        names, values = hosts.together(lambda: data.field_values(table, count_by))
        pair = [
            dict(zip(names, np.bincount(values[which], minlength=len(names)).tolist(), strict=True))
            for which in (every, own)
        ]
        text = np.frombuffer(msgspec.json.encode(pair), np.uint8)
        sums: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for part in hosts.gather(text):
            for total, some in zip(sums, msgspec.json.decode(part.tobytes()), strict=True):
                total.update(some)
        records, kept = sums
        # Without values that only given records have.
        told["counts"] = counts_by_value(count_by, +records, kept)
    return told
