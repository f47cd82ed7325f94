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
from mig_jax.runs import digest

if TYPE_CHECKING:
    from mig_jax.language_models import EncodedRecords, ReadPool

__all__ = ["BLOCK", "Answers", "ask"]

BLOCK = 250
"""Records kept at once: a minute or so of a small model on two cores."""

_FOLDER = "asked"  # Of the cache.
_ROWS = 4  # Of a batch of the warm-up, as in the study that chose the step size.


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What the model said, for `candidates_of_table`."""

    records: npt.NDArray[np.int64]  #: [N], ascending: those of the pool that it was asked about.
    gradients: Pair | None
    response_losses: Pair | None
    told: dict[str, Any]  #: For the manifest.


def ask(
    options: SelectOptions, table: data.RecordTable, validation: data.ValidationSet | None
) -> Answers:
    """Asks the model, or reads what it has said before.

    Raises:
      InputError: if no record, or no validation record, is short enough, a record has no
        conversation, or another run is asking the same.
    """
    model = options.base_model
    tuning = model.tuning(options.layers)
    say(f"{model.name}: {model.told(tuning)} when it is warmed up; reading the pool's texts")
    pairs = list(data.read_texts(table, fields=options.fields))
    encoded = _encode(options, pairs)
    with _folder(options, encoded, validation) as folder:
        pool = language_models.ReadPool(
            folder,
            model,
            tuning,
            encoded,
            row=options.row,
            rows=_ROWS,
            teller=language_models.Teller(say, progress_bar),
        )
        with contextlib.closing(pool):
            if options.needs("gradients"):
                assert validation is not None
                answers = _gradients(options, pool, validation)
            else:
                losses = language_models.RecordLosses(pool, options.step_size, BLOCK).of(pool.fits)
                answers = Answers(pool.fits, None, lambda: losses, _told(options, pool))
        # Of no use any more, and by far the most.
        shutil.rmtree(folder / "activations", ignore_errors=True)
    return answers


def _gradients(options: SelectOptions, pool: ReadPool, validation: data.ValidationSet) -> Answers:
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
    records = np.sort(asking.asked)
    say(f"asked about {len(records):,} of them, and {fits.sum():,} validation records")
    found = asking.of(records)
    told = _told(options, pool) | {"asked": len(records)}
    told["validation"] = {"records": len(validation), "asked": int(fits.sum())}
    return Answers(records, lambda: found, None, told)


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
    options: SelectOptions, encoded: EncodedRecords, validation: data.ValidationSet | None
) -> Iterator[pathlib.Path]:
    """Where answers are kept: those about other records, or by another model, are elsewhere."""
    if options.cache_folder is None:
        say("what the model says is not kept, as of --cache=none")
        with tempfile.TemporaryDirectory(prefix="mig_jax-") as temporary:
            yield pathlib.Path(temporary)
        return
    decides = [
        *(options.base_model.digest, options.layers, options.row, options.step_size),
        *(encoded.ids, encoded.starts, encoded.offsets),
        "" if validation is None else validation.digest,
        options.gradient_records if options.needs("gradients") else "losses",
    ]
    folder = pathlib.Path(options.cache_folder, _FOLDER, digest(decides)[:16])
    say(f"what the model says is kept in {folder}, which may be deleted at any time")
    yield folder


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
