"""Tags that mean the same made one, and rare ones left out.

As InsTag does it (arXiv 2308.07074, section 3.2), whose tags MIG uses: tags seen rarely
are noise; spellings that differ in case and punctuation are one tag; and so are tags
whose embeddings are near, found by DBSCAN. Not done here: stemming, which the embeddings
make needless, and the merging of tags that always come together, which are different
labels to a graph.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.annotation._extras import require
from mig_jax.annotation.texts import Encode, without_marks

__all__ = ["TagMapping", "merge_tags", "spelling"]

_JOINERS = "\u200c\u200d"


@dataclasses.dataclass(frozen=True)
class TagMapping:
    """What becomes of each tag."""

    of: Mapping[str, str | None]  # None: left out, as it is rare.

    def apply(self, tags: Sequence[str]) -> list[str]:
        """The tags that are left, each once, in order; unknown ones are left out.

        >>> TagMapping({"NLP": "nlp", "nlp": "nlp", "x": None}).apply(["NLP", "x", "nlp"])
        ['nlp']
        """
        kept = [self.of.get(tag) for tag in tags]
        return list(dict.fromkeys(tag for tag in kept if tag is not None))

    def to_json(self) -> bytes:
        """A JSON object, a line each tag, by name."""
        lines = [
            f"  {msgspec.json.encode(tag).decode()}: {msgspec.json.encode(self.of[tag]).decode()}"
            for tag in sorted(self.of)
        ]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> TagMapping:
        """Raises msgspec.DecodeError if it is no object of strings and nulls."""
        return cls(msgspec.json.decode(text, type=dict[str, str | None]))


def merge_tags(
    counts: Mapping[str, int],
    encode: Encode | None,
    *,
    min_count: int = 20,
    distance: float = 0.05,
) -> TagMapping:
    """What each tag becomes, by how many records have it.

    Spellings are joined first, so that a tag is not rare for being spelt in many ways;
    each takes the commonest of its names, without marks that nobody sees and spaces that are
    too many. Then tags of fewer than `min_count` records are left out, as are those without a
    letter or digit, and tags that a chain of steps of at most `distance` joins are merged
    (DBSCAN in which no tag is noise) into the commonest of them. Of two as common it is the
    first by alphabet.

    Args:
      counts: the number of records that have each tag.
      encode: embeds tags; None to merge none by meaning.
      min_count: 20 in the paper.
      distance: cosine distance, 0.05 in the paper.

    Raises:
      InputError: if scikit-learn is needed and not there.
    """

    def commonest(tags: Sequence[str], count: Mapping[str, int]) -> str:
        return min(tags, key=lambda tag: (-count[tag], tag))

    spelt: dict[str, Counter[str]] = {}
    for tag, count in counts.items():
        spelt.setdefault(spelling(tag), Counter())[_name(tag)] += count
    shown = {form: commonest(list(names), names) for form, names in spelt.items()}
    total = Counter({shown[form]: names.total() for form, names in spelt.items()})
    common = sorted(tag for tag, count in total.items() if count >= min_count and spelling(tag))
    merged: dict[str, str | None] = {tag: tag for tag in common}
    if encode is not None and len(common) > 1:
        groups: dict[int, list[str]] = {}
        for tag, group in zip(common, _near(encode(common), distance), strict=True):
            groups.setdefault(group, []).append(tag)
        for members in groups.values():
            for tag in members:
                merged[tag] = commonest(members, total)
    return TagMapping({tag: merged.get(shown[spelling(tag)]) for tag in counts})


def spelling(tag: str) -> str:
    """The tag without what spellings differ in: case, punctuation, width, spaces, unseen marks.

    Signs that words are made with in this field, as in `c++`, `c#` and `.net`, stay where
    they touch a word.

    >>> spelling("Data_Analysis "), spelling("data-analysis"), spelling("C++"), spelling("C")
    ('data analysis', 'data analysis', 'c++', 'c')
    """
    plain = unicodedata.normalize("NFKC", without_marks(tag)).casefold()
    bare = "".join(
        " " if unicodedata.category(c)[0] in "PSZC" and c not in "+#." else c for c in plain
    )
    words = re.sub(r"(?<=\S)[.]", " ", bare).split()
    return " ".join(word for word in words if any(map(str.isalnum, word)))


def _name(tag: str) -> str:
    """The tag as it is shown: one that is alike to the eye is the same.

    What joins and parts letters of Persian, Hindi and emoji stays between them.
    """
    seen = without_marks(unicodedata.normalize("NFC", tag), keep=_JOINERS)
    return " ".join(seen.split()).strip(_JOINERS)


def _near(embeddings: npt.NDArray[np.float32], distance: float) -> list[int]:
    """The cluster of each tag."""
    cluster = require("sklearn.cluster", "merging tags by meaning")
    # On unit vectors the squared Euclidean distance is twice the cosine distance.
    found = cluster.DBSCAN(eps=float(np.sqrt(2 * distance)), min_samples=1).fit(embeddings)
    return found.labels_.tolist()
