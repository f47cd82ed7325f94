"""The flags of models on a server: what they are, what they go with, and what was spent."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from absl import flags

from mig_jax.annotation import CAN_ASK_SERVER, NEED_SERVER, Answers, Usage, scorer_weights
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import AddFlag, Address, Name
from mig_jax.errors import InputError

__all__ = [
    "ENDPOINT_SETTINGS",
    "EndpointOptions",
    "check_endpoint_flags",
    "define_endpoint_flags",
    "served",
]

#: Flags that decide where and how a server is asked, and not what it answers.
ENDPOINT_SETTINGS = (
    "endpoint",
    "parallel_requests",
    "request_timeout",
    "request_retries",
    "price_in",
    "price_out",
)


def define_endpoint_flags(add: AddFlag) -> None:
    """Adds the server, its model, how it is asked and what that costs."""
    add = add.under(Section.SERVERS)
    able = ", ".join(sorted(CAN_ASK_SERVER - NEED_SERVER))
    add(
        Address,
        "endpoint",
        None,
        "Address of a server that speaks OpenAI's API, such as http://localhost:8000/v1, which "
        f"--tagger=llm, --scorer=llm_quality and --scorer=llm_complexity ask; and, if it is given, "
        f"{able}. The key, if it wants one, is taken from the environment: OPENAI_API_KEY.",
    )
    add(
        Name,
        "model",
        None,
        "Name that the server has for the model of llm, llm_quality and llm_complexity. (For "
        "instag and deita it is that of --instag_model and --deita_..._model.)",
    )
    add(
        flags.DEFINE_integer,
        "max_answer_tokens",
        512,
        "Tokens of an answer by a model on a server, at most (DEITA says one); more for one "
        "that thinks before it answers.",
        lower_bound=1,
    )
    add(flags.DEFINE_integer, "parallel_requests", 16, "Requests at a time.", lower_bound=1)
    add(
        flags.DEFINE_float,
        "request_timeout",
        300.0,
        "Seconds that a request may take, to its last byte; a server may go on with one that was "
        "given up, so that too few make it slower still.",
        lower_bound=1.0,
    )
    add(
        flags.DEFINE_integer,
        "request_retries",
        6,
        "Times that a failed request is sent again, each time after about twice the pause, before "
        "its record is left out. If the server is busy, three times as many.",
        lower_bound=0,
    )
    for name, what in (("price_in", "that are sent"), ("price_out", "that are answered")):
        add(
            flags.DEFINE_float,
            name,
            None,
            f"Price of a million tokens {what}; what was spent is shown then.",
            lower_bound=0.0,
        )


@dataclasses.dataclass(frozen=True)
class EndpointOptions:
    """The flags of `define_endpoint_flags` that the models do not need."""

    price_in: float | None
    price_out: float | None

    def told(self, usage: Usage) -> str:
        """What was asked and spent, in short.

        >>> EndpointOptions(1.0, None).told(Usage(2, 1500, 70))
        '2 answers, 1,500 + 70 tokens, 0.0015 spent'
        """
        tokens = ""
        if usage.answers > usage.untold:
            tokens = f", {usage.tokens_in:,} + {usage.tokens_out:,} tokens"
        cost = usage.cost(self.price_in, self.price_out)
        spent = "" if cost is None else f", {cost:.4g} spent"
        return f"{usage.answers:,} answers{tokens}{spent}"

    def about(self, usage: Usage) -> dict[str, Any]:
        """What was asked and spent, for the manifest."""
        return {
            "answers": usage.answers,
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
            "answers_without_token_counts": usage.untold,
            "spent": usage.cost(self.price_in, self.price_out),
        }


def check_endpoint_flags(values: flags.FlagValues) -> None:
    """Raises InputError if a server is needed and not named, or named and not needed."""
    scorers = scorer_weights(values.scorer)
    used = [f"--tagger={values.tagger}"] * (values.tagger in CAN_ASK_SERVER)
    used += [f"--scorer={name}" for name in scorers if name in CAN_ASK_SERVER]
    if values.endpoint is None:
        for flag in used:
            if flag.partition("=")[2] in NEED_SERVER:
                raise InputError(f"{flag}: needs --endpoint=URL, the address of a server")
    elif not used:
        able = ", ".join(sorted(CAN_ASK_SERVER))
        raise InputError(f"--endpoint: nothing asks it; expected a tagger or scorer of {able}")


@contextlib.contextmanager
def served(options: Any, path: str) -> Iterator[Answers | None]:
    """Within, the server of the options is connected, if they name one; its answers.

    They are kept in the file at `path` until the outputs are there.

    Raises:
      InputError: if the server or the file cannot be used.
    """
    if options.endpoint is None:
        yield None
        return
    # The connection ends first: nothing is written to a file that is closed.
    with Answers(path) as answers, options.server as server:
        server.answers = answers
        yield answers
