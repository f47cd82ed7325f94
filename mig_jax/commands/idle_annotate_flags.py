"""Flags of annotate that are of no use for what else is given."""

from __future__ import annotations

from typing import Final

from absl import flags

from mig_jax.annotation import scorer_weights
from mig_jax.commands.idle_flags import refuse_idle

__all__ = ["check_annotate_idle"]

_OF_SERVERS: Final = (
    *("model", "max_answer_tokens", "parallel_requests", "request_timeout", "request_retries"),
    *("price_in", "price_out"),
)
_LANGUAGE_MODELS: Final = {
    *("instag", "llm", "llm_quality", "llm_complexity"),
    *("deita_quality", "deita_complexity", "ifd"),
}


def check_annotate_idle(values: flags.FlagValues, tagger: str) -> None:
    """Raises InputError if a flag is of no use for the tagger, the scorers or the filters."""
    used = {tagger, *scorer_weights(values.scorer)}
    overlap, near = bool(values.exclude_overlap), values.deduplicate == "near"
    served = values.endpoint is not None
    makes_labels = tagger in ("discover", "embedding", "llm")
    asks = bool(used & _LANGUAGE_MODELS)
    merging, similar = ("min_tag_count", "tag_distance"), ("tag_similarity", "tag_margin")
    refuse_idle(values, ["near_duplicate_similarity"], near, "--deduplicate=near")
    refuse_idle(values, ["overlap_words"], overlap, "--exclude_overlap=FILE")
    refuse_idle(values, merging, values.normalise_tags, "--normalise_tags")
    refuse_idle(values, similar, tagger == "embedding", "--tagger=embedding")
    refuse_idle(values, ["max_tags"], makes_labels, "--tagger=discover, embedding or llm")
    refuse_idle(values, ["instag_model"], tagger == "instag", "--tagger=instag")
    refuse_idle(values, ["ifd_model"], "ifd" in used, "--scorer=ifd")
    for scorer in ("deita_quality", "deita_complexity"):
        refuse_idle(values, [f"{scorer}_model"], scorer in used, f"--scorer={scorer}")
    refuse_idle(values, ["max_tokens"], asks, "a tagger or scorer that asks a language model")
    refuse_idle(values, _OF_SERVERS, served, "--endpoint=URL")
