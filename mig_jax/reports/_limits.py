"""What a selection keeps to beside a number of records, and what the limits cost, as told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mig_jax.reports._counts import on_one_line
from mig_jax.reports._told_numbers import proven_per_cent, told_information, told_price

__all__ = [
    "allowed_selections",
    "is_limited",
    "prefix_rows",
    "quota_lines",
    "quota_rows",
    "told_limits",
]

_NO_PRICES: Final = "What each limit costs was not computed (--nocertificate)."
_PRICE_TOLD: Final = (
    "A price is about how much E {one} more of the group would bring in the same budget. Above "
    "0, its maximum holds it back; below 0, its minimum forces it in, and each costs so much. "
    "Without a price the limit changes nothing. What is proven: if the limit is loosened by so "
    "much, the bound on E rises by at most the price."
)

_MOST_TOLD: Final = 12  # Groups of a summary.
_MOST_SHOWN: Final = 100  # Groups of a page.
_NONE: Final = "–"
# Prices of one token are too small to read.
_TOKENS: Final = 1000


def is_limited(about: Mapping[str, Any]) -> bool:
    """Whether the selection had to keep to more than a number of records."""
    return any(about.get(name) for name in ("tokens", "quotas", "given", "changes"))


def allowed_selections(about: Mapping[str, Any]) -> str:
    """The selections that the bound holds for, to follow "no selection".

    >>> allowed_selections({"budget": 500, "records_selected": 500})
    'of 500 records'
    >>> allowed_selections({"budget": 500, "records_selected": 80, "quotas": {"unit": "tokens"}})
    'of at most 500 records that keeps to the quotas'
    >>> limits = {"tokens": {"budget": 9000}, "quotas": {}, "given": {"records": 3}}
    >>> allowed_selections({"budget": 500, "records_selected": 80, **limits})
    'of at most 500 records and 9,000 tokens, together with the 3 records given,'
    """
    tokens = about.get("tokens") or {}
    most = tokens.get("budget")
    budget = about["budget"]
    if most is None:
        fewer = about["records_selected"] < budget  # As maxima in tokens may leave.
        sizes = f"{'at most ' * fewer}{budget:,} records"
    elif budget is None:
        sizes = f"at most {most:,} tokens"
    else:
        sizes = f"at most {budget:,} records and {most:,} tokens"
    told = f"of {sizes}"
    if about.get("quotas"):
        told += " that keeps to the quotas"
    if changes := about.get("changes"):
        told += f", with at most {changes['most']:,} that the last selection has not,"
    if given := about.get("given"):
        told += f", together with the {given['records']:,} records given,"
    return told.replace(",,", ",")


def told_limits(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What there is of tokens, a given set, an extension, changes and prices: names and texts."""
    if tokens := about.get("tokens"):
        most = "" if tokens.get("budget") is None else f" of {tokens['budget']:,}"
        pool = f"the pool: {tokens['pool']:,}; counted by {tokens['counted_by']}"
        yield "tokens", f"{tokens['used']:,}{most}   ({pool})"
    if given := about.get("given"):
        alone = told_information(given["information"])
        added = told_information(about["information"] - given["information"])
        written = ", written too" if given["included"] else ""
        yield "given", f"{given['records']:,} records of E {alone}{written}; the picks add {added}"
    if extended := about.get("extended"):
        reason = f": {extended['reason']}" if extended.get("reason") else ""
        kept = f"the first {extended['kept']:,} picks" if extended["kept"] else "no pick"
        yield "extended", f"kept {kept} of {extended['previous']}{reason}"
    if changes := about.get("changes"):
        new = f"{changes['new']:,} new, at most {changes['most']:,}"
        yield "changes", f"{new}; {changes['kept']:,} kept of {changes['previous']}"
    if is_limited(about) and (more := list(_told_prices(about))):
        yield "price", f"the bound on E rises by at most {', '.join(more)}"


def _told_prices(about: Mapping[str, Any]) -> Iterator[str]:
    """What more of each budget would bring."""
    prices = about.get("prices")
    if prices and about.get("budget") is not None:
        yield f"{told_price(prices['record'], at_most=True)} for a further record"
    if prices and (about.get("tokens") or {}).get("budget") is not None:
        price = told_price(_TOKENS * prices["token"], at_most=True)
        yield f"{price} for {_TOKENS:,} further tokens"


def quota_rows(quotas: Mapping[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """The quotas as a table: the names of its columns, its rows, and what a price is.

    Groups whose limits have a price come first, then those with most in the pool; the last of more
    than a hundred stand together in one row. Without a certificate no prices are known.
    """
    unit = quotas["unit"]
    of_tokens = unit == "tokens"
    one = f"{_TOKENS:,} tokens" if of_tokens else "one record"
    price = f"price of {one}" if of_tokens else "price of a record"
    names = [quotas["by"], "minimum", "maximum", f"{unit} in the pool", "selected", price]
    groups = _most_telling_first(quotas["groups"])
    rows = [
        [
            group["name"],
            *(_told_number(group[name]) for name in ("minimum", "maximum", "pool", "selected")),
            _told_price(group.get("price"), of_tokens),
        ]
        for group in groups[:_MOST_SHOWN]
    ]
    if rest := groups[_MOST_SHOWN:]:
        pool, selected = (sum(group[name] for group in rest) for name in ("pool", "selected"))
        rows.append([f"{len(rest):,} others", _NONE, _NONE, f"{pool:,}", f"{selected:,}", _NONE])
    if not any("price" in group for group in groups):
        return names[:-1], [row[:-1] for row in rows], _NO_PRICES
    return names, rows, _PRICE_TOLD.format(one=one)


def quota_lines(quotas: Mapping[str, Any]) -> list[str]:
    """The lines of a summary: the groups whose limits have a price, and the largest others."""
    of_tokens = quotas["unit"] == "tokens"
    groups = _most_telling_first(quotas["groups"])
    cells = []
    for group in groups[:_MOST_TOLD]:
        price = _told_price(group.get("price"), of_tokens)
        cells.append(
            (
                on_one_line(group["name"]),
                f"{group['selected']:,}",
                f"{group['pool']:,}",
                _told_range(group["minimum"], group["maximum"]),
                "" if price == _NONE else f"price {price}",
            )
        )
    lines = []
    if cells:
        first, second, third, fourth = (max(len(row[at]) for row in cells) for at in range(4))
        lines = [
            f"    {n:<{first}}  {k:>{second}} of {p:>{third}}  {r:<{fourth}}  {price}".rstrip()
            for n, k, p, r, price in cells
        ]
    if rest := groups[_MOST_TOLD:]:
        lines.append(f"    {len(rest):,} other groups")
    what = f"{quotas['unit']} by {quotas['by']}"
    prices = f"; price: E for {_TOKENS:,} tokens more" if of_tokens else "; price: E for one more"
    return [f"  quotas, {what}{prices if any(row[-1] for row in cells) else ''}:", *lines]


def prefix_rows(prefixes: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Smaller budgets as a table: the names of its columns and its rows."""
    has_tokens = any(row.get("tokens") is not None for row in prefixes)
    names = ["the first", *(["tokens"] if has_tokens else []), "information E", "certified"]
    rows = [
        [
            f"{row['records']:,}",
            *([f"{row['tokens']:,}"] if has_tokens else []),
            told_information(row["information"]),
            f"≥ {proven_per_cent(row['certified_ratio'])}",
        ]
        for row in prefixes
    ]
    return names, rows


def _most_telling_first(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(groups, key=lambda group: (not group.get("price"), -group["pool"]))


def _told_number(number: int | None) -> str:
    return _NONE if number is None else f"{number:,}"


def _told_price(price: float | None, of_tokens: bool) -> str:
    return told_price(price * (_TOKENS if of_tokens else 1), sign=True) if price else _NONE


def _told_range(minimum: int | None, maximum: int | None) -> str:
    """A quota in words.

    >>> _told_range(5, 10), _told_range(5, None), _told_range(None, 1000), _told_range(None, None)
    ('(5 to 10)', '(at least 5)', '(at most 1,000)', '')
    """
    if minimum is None or maximum is None:
        least = "" if minimum is None else f"(at least {minimum:,})"
        return least if maximum is None else f"(at most {maximum:,})"
    return f"({minimum:,} to {maximum:,})" if minimum < maximum else f"({minimum:,})"
