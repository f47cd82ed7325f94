"""What the host launches for a program compiled for a GPU, from what XLA writes down of it.

XLA lists the steps of a program (thunks): kernels, copies, loops, choices, and command buffers,
which are CUDA graphs. A loop whose turns are not known beforehand copies its condition to the host
at every turn, and the host waits for it; so does a choice. Within a graph neither does.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = [
    "Launches",
    "Place",
    "Region",
    "Thunk",
    "launches_of_a_turn",
    "places_of",
    "read_thunks",
    "regions_of",
    "walked",
]

_THUNK = re.compile(r"^( *)(\d+): (k\w+) *\[[^\]]*\] *(.*?) *$")
_PART = re.compile(r"(?:^|\s)(\w*(?:condition|body|branch)\w*):\s*$")
_COPIES = re.compile(r"Copy|Memset|Memzero")
# They order or wrap others, and launch nothing themselves.
_SILENT = re.compile(r"^k(Async|Sequential|WaitForStreams)")
_SORT = re.compile(r"^sort")

_ANNOTATION = re.compile(r'profile_annotation: "([^"]*)"\s*(?:thunk_id: (\d+))?')
_OPERATION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = .*? (while|conditional|copy)\(")
_ARRAY = re.compile(r" = ([a-z]+)(\d*)\[([\d,]*)\]")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_FRAME = re.compile(r"\bstack_frame_id=(\d+)")
_TABLE_LINE = re.compile(r"^(\d+) (.+)$")


@dataclasses.dataclass(frozen=True)
class Thunk:
    """A step of a program."""

    number: int  #: 0 of command buffers: they have none of their own.
    kind: str  #: As XLA names it: `kWhile`.
    told: str = ""  #: What else is told of it; of a kernel its name and grid.
    #: Steps within it: of a loop `condition` and `body`, of a choice its branches, else one part.
    parts: dict[str, list[Thunk]] = dataclasses.field(default_factory=dict)


class Place(NamedTuple):
    """What the program says of a loop, a choice or a copy."""

    name: str  #: The function and the line that it stands in, or XLA's own name for it.
    turns: int | None = None  #: Of a loop, if they are known beforehand.
    copied_bytes: int = 0  #: Of a copy of an array.


class Launches(NamedTuple):
    """What is launched; fractions are means."""

    kernels: float = 0.0  #: All of them, in graphs too.
    copies: float = 0.0  #: Also what fills memory; all of them.
    in_graphs: float = 0.0  #: How many kernels and copies are nodes of graphs.
    graphs: float = 0.0  #: Launched by the host.
    host_waits: float = 0.0  #: How often the host waits for the device.
    #: Kernels that sort: without a card these are steps of a bitonic sort, on one some of CUB.
    sorts: float = 0.0
    copied_bytes: float = 0.0  #: Of whole arrays: what is updated in place is not copied.

    def plus(self, other: Launches, times: float = 1.0) -> Launches:
        return Launches(*(a + times * b for a, b in zip(self, other, strict=True)))

    @property
    def steps(self) -> float:
        """Kernels and copies."""
        return self.kernels + self.copies


class Region(NamedTuple):
    """A part of a program that runs as often as something decides."""

    kind: str  #: `program`, `loop` (a turn of it), `choice`, or `branch` of a choice.
    name: str
    turns: int | None  #: Of a loop, if they are known beforehand.
    #: What it launches itself each time, without what is in the regions inside. A loop inside
    #: counts with one evaluation of its condition, the last; its turns have the others.
    launches: Launches
    inside: tuple[Region, ...]


def read_thunks(text: str) -> list[Thunk]:
    """The steps that a `thunk_sequence` file lists, in order.

    Raises:
      ValueError: if the text lists none.
    """
    found: list[Thunk] = []
    open_thunks: list[tuple[int, Thunk, str]] = []  # Indent, thunk, the part that is being read.
    for line in text.splitlines():
        if match := _THUNK.match(line):
            indent = len(match[1])
            while open_thunks and open_thunks[-1][0] >= indent:
                open_thunks.pop()
            thunk = Thunk(int(match[2]), match[3], match[4])
            if open_thunks:
                _, parent, part = open_thunks[-1]
                parent.parts.setdefault(part, []).append(thunk)
            else:
                found.append(thunk)
            open_thunks.append((indent, thunk, ""))
        elif match := _PART.search(line):
            # Conditions are named at the margin, and are of the loop listed last. All others are
            # named deeper than their loop or choice.
            if match[1] != "condition":
                while open_thunks and open_thunks[-1][0] >= match.start(1):
                    open_thunks.pop()
            if open_thunks:
                margin, thunk, _ = open_thunks[-1]
                thunk.parts.setdefault(match[1], [])
                open_thunks[-1] = (margin, thunk, match[1])
    if not found:
        raise ValueError("found no thunk")
    return found


def places_of(metadata: str, hlo: str) -> dict[int, Place]:
    """What is known of each loop, choice and copy, by the number of its thunk.

    Args:
      metadata: what XLA writes as `thunk_metadata`.
      hlo: the optimized program.
    """
    names = {match[1]: int(match[2] or 0) for match in _ANNOTATION.finditer(metadata)}
    frames = _functions_of_frames(hlo)
    found = {}
    for line in hlo.splitlines():
        match = _OPERATION.match(line)
        if match is None or match[1] not in names:
            continue
        if match[2] == "copy":
            found[names[match[1]]] = Place(match[1], copied_bytes=_bytes_of(line))
            continue
        turns, frame = _TURNS.search(line), _FRAME.search(line)
        name = match[1] if frame is None else frames.get(int(frame[1]), match[1])
        found[names[match[1]]] = Place(name, int(turns[1]) if turns else None)
    return found


def _bytes_of(line: str) -> int:
    """The size of the array that an operation gives; 0 if it gives several."""
    match = _ARRAY.search(line)
    if match is None:
        return 0
    bits = int(match[2] or 8)  # A boolean, which has no number in its name, takes a byte.
    return math.prod(int(size) for size in match[3].split(",") if size) * bits // 8


def _functions_of_frames(hlo: str) -> dict[int, str]:
    """`function:line` of each stack frame that the program's header lists."""
    tables: dict[str, dict[int, str]] = {}
    table: dict[int, str] = {}
    for line in hlo.splitlines():
        if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            table = tables.setdefault(line, {})
        elif match := _TABLE_LINE.match(line):
            table[int(match[1])] = match[2]
        elif line.startswith(("%", "ENTRY")):
            break
    found = {}
    for frame, told in tables.get("StackFrames", {}).items():
        location = _number_of("file_location_id", told)
        where = tables.get("FileLocations", {}).get(location, "")
        function = tables.get("FunctionNames", {}).get(_number_of("function_name_id", where))
        if function is not None:
            short = function.strip('"').replace(".<locals>", "")
            found[frame] = f"{short}:{_number_of('line', where)}"
    return found


def _number_of(name: str, text: str) -> int:
    match = re.search(rf"\b{name}=(\d+)", text)
    return int(match[1]) if match else 0


def regions_of(
    thunks: Sequence[Thunk], places: Mapping[int, Place], name: str = "program"
) -> Region:
    """The program as a tree: what runs once, the turns of its loops, the branches of its choices.

    Args:
      thunks: from `read_thunks`.
      places: from `places_of`; loops that it does not have are named by their number.
      name: what the root is called.
    """
    launches, inside = _count(thunks, places, in_graph=False)
    return Region("program", name, 1, launches, inside)


def _count(
    thunks: Sequence[Thunk], places: Mapping[int, Place], in_graph: bool
) -> tuple[Launches, tuple[Region, ...]]:
    """What these steps launch themselves, and the regions in them."""
    own, inside = Launches(), list[Region]()
    for thunk in thunks:
        place = places.get(thunk.number, Place(f"{thunk.kind} {thunk.number}"))
        if thunk.kind == "kWhile":
            body, regions = _count(thunk.parts.get("body", []), places, in_graph)
            condition, within = _count(thunk.parts.get("condition", []), places, in_graph)
            # If the host knows how many turns there are, it counts them and asks nobody.
            if in_graph or place.turns is None:
                condition = condition.plus(Launches(host_waits=not in_graph))
                body, own = body.plus(condition), own.plus(condition)
            inside.append(Region("loop", place.name, place.turns, body, (*within, *regions)))
        elif thunk.kind == "kConditional":
            own = own.plus(Launches(host_waits=not in_graph))
            branches = tuple(
                Region("branch", f"{place.name}, {part}", None, *_count(steps, places, in_graph))
                for part, steps in thunk.parts.items()
                if steps
            )
            inside.append(Region("choice", place.name, None, Launches(), branches))
        elif thunk.kind == "kCommandBuffer":
            steps = [step for part in thunk.parts.values() for step in part]
            launches, regions = _count(steps, places, in_graph=True)
            own = own.plus(launches).plus(Launches(graphs=not in_graph))
            inside += regions
        elif thunk.parts:
            steps = [step for part in thunk.parts.values() for step in part]
            launches, regions = _count(steps, places, in_graph)
            own = own.plus(launches)
            inside += regions
        elif not _SILENT.match(thunk.kind):
            is_copy = _COPIES.search(thunk.kind) is not None
            is_sort = _SORT.match(thunk.told) is not None
            own = own.plus(
                Launches(
                    not is_copy,
                    is_copy,
                    in_graph,
                    sorts=is_sort,
                    copied_bytes=place.copied_bytes if is_copy else 0,
                )
            )
    return own, tuple(inside)


def launches_of_a_turn(region: Region, turns: Mapping[str, float]) -> Launches:
    """All that a region launches each time, with what is inside.

    Args:
      region: from `regions_of`.
      turns: by the name of the function that it stands in, how many turns a loop takes on average,
        if they are not known beforehand, and how often a choice takes its largest branch: 1 for
        choices that are not named.

    Raises:
      KeyError: for a loop that has no known turns and is not in `turns`.
    """
    if region.kind == "choice":
        branches = [launches_of_a_turn(branch, turns) for branch in region.inside]
        return max(branches, key=lambda launches: launches.steps, default=Launches())
    found = region.launches
    for inner in region.inside:
        function, times = inner.name.partition(":")[0], 1.0
        if inner.kind == "choice":
            times = turns.get(function, 1.0)
        elif inner.kind == "loop":
            times = turns[function] if inner.turns is None else inner.turns
        found = found.plus(launches_of_a_turn(inner, turns), times)
    return found


def walked(region: Region, depth: int = 0) -> Iterator[tuple[int, Region]]:
    """All regions with their depth, from the outside in; branches are as deep as their choice."""
    yield depth, region
    for inner in region.inside:
        yield from walked(inner, depth + (region.kind != "choice"))
