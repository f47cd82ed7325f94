"""What a selection asks a language model about records: from the flags to gradients and losses.

It is kept as it is made, block by block, in the folder of the cache: what was asked once is not
asked again, by this run after a kill, or by another with another budget.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
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
from mig_jax.methods import heeded
from mig_jax.runs import digest

if TYPE_CHECKING:
    from mig_jax.language_models import EncodedRecords, ReadPool, RecordGradients, Teller

    Array = npt.NDArray[np.float32]

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
    learns = model.told(model.tuning(options.layers))
    say(f"{model.name}: {learns} when it is warmed up; reading the pool's texts")
    encoded = _encode(options, list(data.read_texts(table, fields=options.fields)))
    # Both pools tell the same of the records: once is enough.
    teller = language_models.Teller(functools.cache(say), progress_bar)
    with contextlib.ExitStack() as opened:
        asking = losses = gradients = None
        told: dict[str, Any] = {}
        if options.needs("gradients"):
            assert validation is not None
            decides = [validation.digest, options.gradient_records]
            pool = opened.enter_context(_pool(options, encoded, teller, decides))
            # Losses may take long: what cannot be asked is told before them.
            asking, wanted = _about_gradients(options, pool, validation)
            records, told = np.sort(asking.asked), _told(options, pool) | wanted
        if options.asks_losses:
            pool = opened.enter_context(_pool(options, encoded, teller, ["", "losses"]))
            losses = language_models.RecordLosses(pool, options.step_size, BLOCK).of(pool.fits)
            records, told = pool.fits, _told(options, pool) | told
        if options.heeded:
            assert losses is not None
            kept = heeded(*losses)
            say(
                f"{kept.sum():,} of {len(kept):,} responses are likelier behind their instructions "
                "than alone; the others are left out"
            )
            records, losses = records[kept], (losses[0][kept], losses[1][kept])
            told |= {"heeded": len(records)}
        if asking is not None:
            gradients = asking.of(records)
    return Answers(records, _pair(gradients), _pair(losses), told)


def _pair(found: tuple[Array, Array] | None) -> Pair | None:
    return None if found is None else lambda: found


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
    return asking, {"asked": count, "validation": {"records": len(validation), "asked": asked}}


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
def _pool(
    options: SelectOptions, encoded: EncodedRecords, teller: Teller, decides: list[Any]
) -> Iterator[ReadPool]:
    """The pool in the folder of some answers, which `decides` tells from others."""
    model = options.base_model
    with _folder(options, encoded, decides) as folder:
        pool = language_models.ReadPool(
            folder,
            model,
            model.tuning(options.layers),
            encoded,
            row=options.row,
            rows=_ROWS,
            teller=teller,
        )
        with contextlib.closing(pool):
            yield pool
        # Of no use any more, and by far the most.
        shutil.rmtree(folder / "activations", ignore_errors=True)


@contextlib.contextmanager
def _folder(
    options: SelectOptions, encoded: EncodedRecords, decides: list[Any]
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
        *decides,
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
