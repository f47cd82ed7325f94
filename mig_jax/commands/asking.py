"""What a selection asks a language model about records: from the flags to gradients and losses.

It is kept as it is made, block by block, in the folder of the cache: what was asked once is not
asked again, by this run after a kill, or by another with another budget.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mig_jax import data, language_models  # What is in the last one loads when it is used.
from mig_jax.commands.candidates import Pair
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.errors import InputError
from mig_jax.methods import heeded
from mig_jax.runs import digest

if TYPE_CHECKING:
    from mig_jax.language_models import EncodedRecords, ReadPool, RecordGradients

    Array = npt.NDArray[np.float32]

__all__ = ["BLOCK", "Answers", "ask"]

BLOCK = 250
"""Records kept at once: a minute or so of a small model on two cores."""

_FOLDER = "asked"  # Of the cache.
_ROWS = 4  # Of a batch of the warm-up, as in the study that chose the step size.


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What the model said, for `candidates_of_table`."""

    records: npt.NDArray[np.int64]  #: [N], ascending: those of the pool to choose from.
    gradients: Pair | None
    response_losses: Pair | None
    #: Ascending: those that may follow where the budget has room, as nothing is known of them.
    others: npt.NDArray[np.int64]
    told: dict[str, Any]  #: For the manifest.


def ask(
    options: SelectOptions, table: data.RecordTable, validation: data.ValidationSet | None
) -> Answers:
    """Asks the model, or reads what it has said before.

    Raises:
      InputError: if no record, or no validation record, is short enough, a record has no
        conversation, another run is asking the same, or no response is heeded.
    """
    model = options.base_model
    tuning = model.tuning(options.layers)
    say(f"{model.name}: {model.told(tuning)} when it is warmed up; reading the pool's texts")
    encoded = _encode(options, list(data.read_texts(table, fields=options.fields)))
    by_gradients = options.needs("gradients")
    with contextlib.ExitStack() as opened:

        def folder(of: str) -> pathlib.Path:
            return opened.enter_context(_folder(options, encoded, validation, of))

        pool = language_models.ReadPool(
            folder("gradients" if by_gradients else "losses"),
            model,
            tuning,
            encoded,
            row=options.row,
            rows=_ROWS,
            teller=language_models.Teller(say, progress_bar),
        )
        opened.enter_context(contextlib.closing(pool))
        records, others = pool.fits, np.zeros(0, np.int64)
        told, pairs = _told(options, pool), {}
        if by_gradients:
            assert validation is not None
            # Losses may take long: what gradients cannot be asked for is told before.
            asking, more = _about_gradients(options, pool, validation)
            told |= more
            records = np.sort(asking.asked)
            others = np.setdiff1d(np.arange(table.num_records), records)
        if options.asks_losses:
            kept = folder("losses") if by_gradients else None
            losses = language_models.RecordLosses(pool, options.step_size, BLOCK, folder=kept)
            if options.heeded:
                is_heeded = pool.fits[_heeded(*losses.of(pool.fits))]
                told |= {"heeded": len(is_heeded)}
                records, others = (np.intersect1d(one, is_heeded) for one in (records, others))
            pairs["response_losses"] = losses.of(records)
        if by_gradients:
            pairs["gradients"] = asking.of(records)
    of_gradients, of_losses = (_pair(pairs.get(name)) for name in ("gradients", "response_losses"))
    return Answers(records, of_gradients, of_losses, others, told)


def _pair(found: tuple[Array, Array] | None) -> Pair | None:
    return None if found is None else lambda: found


def _heeded(behind: Array, alone: Array) -> npt.NDArray[np.bool_]:
    found = heeded(behind, alone)
    if not found.any():
        raise InputError(
            f"--heeded: none of {len(found):,} responses is likelier behind its instruction than "
            "alone; expected another --model, or no --heeded"
        )
    say(
        f"{found.sum():,} of {len(found):,} responses are likelier behind their instructions than "
        "alone; the others are left out"
    )
    return found


def _about_gradients(
    options: SelectOptions, pool: ReadPool, validation: data.ValidationSet
) -> tuple[RecordGradients, dict[str, Any]]:
    """Whose gradients the model will be asked for, and what is told of them."""
    encoded = _encode(options, validation.conversations)
    fits = encoded.lengths <= options.row
    asking = language_models.RecordGradients(
        pool,
        validation,
        encoded,
        fits,
        options.gradient_records or len(pool.fits),
        options.step_size,
        block=BLOCK,
    )
    asking.check()
    _say_left_out(validation, fits, options.row)
    count, asked = len(asking.asked), int(fits.sum())
    say(f"asked about {count:,} of them, and {asked:,} validation records")
    wanted = {"records": len(validation), "asked": asked}
    return asking, {"asked": count, "validation": wanted}


def _say_left_out(validation: data.ValidationSet, fits: npt.NDArray[np.bool_], row: int) -> None:
    if fits.all():
        return
    say(
        f"{validation.path}: {np.count_nonzero(~fits):,} of {len(fits):,} records have more than "
        f"{row} tokens: left out"
    )
    groups = validation.groups
    if lost := sorted(set(groups.tolist()) - set(groups[fits].tolist())):
        say(f"warning: no record of task {', '.join(lost)} fits: nothing is selected for it")


def _encode(options: SelectOptions, pairs: Sequence[tuple[str, str]]) -> EncodedRecords:
    model = options.base_model
    return language_models.encode(model.tokenizer, model.template, pairs)


@contextlib.contextmanager
def _folder(
    options: SelectOptions,
    encoded: EncodedRecords,
    validation: data.ValidationSet | None,
    of: str,
) -> Iterator[pathlib.Path]:
    """Where answers are kept: those about other records, or by another model, are elsewhere.

    Losses have to do with no validation records: all methods share them.
    """
    if options.cache_folder is None:
        say("what the model says is not kept, as of --cache=none")
        with tempfile.TemporaryDirectory(prefix="mig_jax-") as temporary:
            yield pathlib.Path(temporary)
        return
    decides: list[Any] = ["", "losses"]
    if of == "gradients":
        assert validation is not None
        decides = [validation.digest, options.gradient_records]
    every = [
        *(options.base_model.digest, options.layers, options.row, options.step_size),
        *(encoded.ids, encoded.starts, encoded.offsets),
        *decides,
    ]
    folder = pathlib.Path(options.cache_folder, _FOLDER, digest(every)[:16])
    say(f"what the model says is kept in {folder}, which may be deleted at any time")
    yield folder
    # Of no use any more, and by far the most.
    shutil.rmtree(folder / "activations", ignore_errors=True)


def _told(options: SelectOptions, pool: ReadPool) -> dict[str, Any]:
    return {
        "path": options.model,
        "digest": pool.model.digest,
        "chat_template": options.chat_template,
        "layers": options.layers,
        "row": options.row,
        "fit": len(pool.fits),
        "asked": len(pool.fits),
        "warm_up": {"tokens": language_models.WARM_UP, "step_size": options.step_size, "seed": 0},
    }
