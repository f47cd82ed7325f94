"""Batches annotated by the machines of a Ray cluster.

Ray Data reads the parts of the pool where there is room, and maps their batches over actors
that hold the models. It gives lost work to others: what a part or a batch gives is the same
whoever does it, and however often. This process only appends what comes, in order, to the
journal; it holds no records, and neither end runs ahead of the other by more than what Ray's
object store takes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from mig_jax import errors
from mig_jax._version import __version__
from mig_jax.annotation._extras import package_versions
from mig_jax.annotation.running._annotating import Batch, annotate_batch, keep_batch
from mig_jax.annotation.running._journal import Annotation, Journal
from mig_jax.annotation.running._pool_batches import PoolBatches, PoolPart
from mig_jax.annotation.texts import Scorer, Tagger
from mig_jax.errors import InputError

__all__ = ["RayEngine", "versions_here"]

# Before ray is imported. Its own words would tear our bar; what matters comes as an error.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_SECONDS_TO_CONNECT = 10
# A batch that ends every process that works on it, such as one that memory cannot hold, must end
# the run at last; machines that go away must not. Ray counts both, so we count ourselves.
_TRIES = 5
_READERS = 4
_ANNOTATIONS = msgspec.json.Decoder(list[Annotation])


class RayEngine(contextlib.AbstractContextManager[None]):
    """The machines of a cluster, or the processors of this one under Ray."""

    def __init__(self, address: str | None, on_gpus: bool) -> None:
        """`address` as `ray start` tells it, HOST:PORT or auto.

        Without one it is that of RAY_ADDRESS, or else a cluster of this machine alone is
        started for the run. With `on_gpus` each actor has a GPU, if the cluster has any.
        """
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._on_gpus = on_gpus
        self._held = contextlib.ExitStack()

    def __enter__(self) -> None:
        """Joins the cluster.

        Raises:
          InputError: if Ray is not installed, there is no cluster, or one of its machines has
            not what this one has.
        """
        os.environ.update({**_ENVIRONMENT, **os.environ})
        self._ray = errors.require("ray", "--engine=ray", "ray")
        errors.require("ray.data", "--engine=ray", "ray")
        with contextlib.ExitStack() as held:
            # Ray tells there what becomes of machines, which is no output of ours.
            nowhere = held.enter_context(open(os.devnull, "w"))
            held.enter_context(contextlib.redirect_stdout(nowhere))
            if not self._ray.is_initialized():
                self._join()
                held.callback(self._ray.shutdown)
            # Whatever fails is told once, by us.
            logging.getLogger("ray.data").setLevel(logging.CRITICAL + 1)
            self._check_machines()
            self._held = held.pop_all()

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _join(self) -> None:
        is_local = self._address == "local"
        more: dict[str, Any] = {"include_dashboard": False} if is_local else {}
        if not is_local and self._address != "auto":
            _check_address(self._address)
        try:
            with _signals_kept(), _quiet_start():
                self._ray.init(
                    address=self._address,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    **more,
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"--ray_address={self._address}: {_first_line(error)}; expected the address of a "
                "cluster that `ray start` has started, of which this machine is part and whose "
                "machines have the same Ray and Python"
            ) from None

    def _check_machines(self) -> None:
        """Raises InputError if a machine of the cluster has not what this one has."""
        ray = self._ray

        # Within, so that it travels by value: a machine may be without mig_jax.
        def problem(expected: dict[str, str]) -> str:
            try:
                from mig_jax.annotation.running._ray_engine import versions_here
            except ImportError as error:
                return f"mig_jax cannot be imported ({error})"
            differs = (
                f"{name} is {found or 'not installed'}, here it is {of_driver or 'not installed'}"
                for name, found in versions_here().items()
                if (of_driver := expected.get(name)) != found
            )
            return next(differs, "")

        task = ray.remote(problem)
        asked = [
            (
                node["NodeManagerHostname"],
                task.options(num_cpus=0, scheduling_strategy=_at(ray, node["NodeID"])).remote(
                    versions_here()
                ),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
        for host, reference in asked:
            try:
                found = ray.get(reference)
            except ray.exceptions.RayError as error:
                found = f"does not answer ({_first_line(error)})"
            if found:
                raise InputError(
                    f"--engine=ray: on {host} {found}; expected the same packages on all machines"
                )

    def annotate(
        self,
        batches: PoolBatches,
        tagger: Tagger,
        scorers: Mapping[str, Scorer],
        journal: Journal,
        progress: Callable[[int], None],
    ) -> None:
        """As `Engine.annotate`.

        Raises:
          InputError: as there; and if the cluster fails so that Ray cannot go on.
        """
        progress(journal.done)
        number = journal.done // batches.size
        try:
            for found in self._results(batches.parts(journal.done), tagger, scorers):
                if found["problem"]:
                    raise InputError(found["problem"])
                assert found["number"] == number, (found["number"], number)
                annotations = _ANNOTATIONS.decode(found["annotations"])
                keep_batch(annotations, journal, is_last=len(annotations) < batches.size)
                progress(journal.done)
                number += 1
        except self._ray.exceptions.RayTaskError:
            raise  # An error of the program, which its traceback tells.
        except self._ray.exceptions.RayError as error:
            raise InputError(
                f"--engine=ray: {_first_line(error)}; what was annotated is kept, and the same "
                "command goes on from it"
            ) from None

    def _results(
        self, parts: list[PoolPart], tagger: Tagger, scorers: Mapping[str, Scorer]
    ) -> Iterator[dict[str, Any]]:
        """Yields the row of each batch, in order."""
        ray = self._ray
        # Of these data alone: whoever calls may have others.
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        # A row, which is a batch, is a block of its own: the unit of work, and of what is lost.
        context.target_max_block_size = context.target_min_block_size = 1
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if self._on_gpus else 0
        actors = gpus or max(int(resources.get("CPU", 1)), 1)
        models = ray.put((tagger, dict(scorers)))
        # Beside this process, which it has to outlive.
        here = ray.get_runtime_context().get_node_id()
        tries = ray.remote(_Tries).options(num_cpus=0, scheduling_strategy=_at(ray, here)).remote()
        with ray.data.DataContext.current(context):
            rows = ray.data.read_datasource(
                _source(ray, parts),
                # Readers take no processor of their own: actors may hold all that there are.
                num_cpus=0,
                concurrency=min(len(parts), _READERS),
                override_num_blocks=len(parts),
            ).map(
                _Annotator,
                fn_constructor_args=(models, tries, versions_here()),
                compute=ray.data.ActorPoolStrategy(min_size=1, initial_size=1, max_size=actors),
                num_cpus=1,
                num_gpus=1 if gpus else 0,
            )
        for block in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            yield from block.to_pylist()


class _Annotator:
    """Annotates batches: an actor, which holds the models."""

    def __init__(self, models: Any, tries: Any, expected: dict[str, str]) -> None:
        """`models` refers to the tagger and the scorers, `expected` has the driver's versions."""
        self._ray = ray = errors.require("ray", "--engine=ray", "ray")
        self._tries = tries
        self._problem = ""
        if differs := [name for name, found in versions_here().items() if expected[name] != found]:
            self._problem = (
                f"--engine=ray: {socket.gethostname()} has another {differs[0]} than where the "
                "command runs; expected the same packages on all machines"
            )
            return
        try:
            # Loads models: unpickled, they are made anew.
            self._tagger, self._scorers = ray.get(models)
        except InputError as error:
            self._problem = f"{error} (on {socket.gethostname()})"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        problem, found = row["problem"] or self._problem, b""
        if not problem:
            batch = Batch(*pickle.loads(row["batch"]))
            if self._ray.get(self._tries.begin.remote(row["number"])) > _TRIES:
                first, last = batch.places[0], batch.places[-1]
                problem = (
                    f"--engine=ray: {_TRIES} processes ended while they annotated {first} to "
                    f"{last}, perhaps for want of memory; expected a batch that they can hold "
                    "(--batch_size)"
                )
            else:
                try:
                    annotations = annotate_batch(batch, self._tagger, self._scorers)
                    found = msgspec.json.encode(annotations)
                except InputError as error:
                    problem = str(error)
            self._tries.end.remote(row["number"])
        return {"number": row["number"], "annotations": found, "problem": problem}


class _Tries:
    """How often each batch was begun since it was last ended: an actor."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]

    def end(self, number: int) -> None:
        self._begun.pop(number, None)


def _at(ray: Any, node: str) -> Any:
    """Where a task or actor of this machine alone is run."""
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)


def _source(ray: Any, parts: list[PoolPart]) -> Any:
    """A data source of Ray Data that has a task for each part, and a row for each batch."""
    import pyarrow as pa

    def task(part: PoolPart) -> Any:
        def rows() -> Iterator[pa.Table]:
            number = part.first
            try:
                for batch in part:
                    yield _row(number, pickle.dumps(tuple(batch)), "")
                    number += 1
            except InputError as error:
                yield _row(number, b"", str(error))

        about = ray.data.block.BlockMetadata(
            num_rows=part.batches, size_bytes=None, exec_stats=None, input_files=None
        )
        return ray.data.ReadTask(rows, about)

    class Source(ray.data.Datasource):  # type: ignore[name-defined,misc]
        def get_read_tasks(self, *_: Any, **__: Any) -> list[Any]:
            return [task(part) for part in parts]

        def estimate_inmemory_data_size(self) -> None:
            return None

    return Source()


def _row(number: int, batch: bytes, problem: str) -> Any:
    import pyarrow as pa

    columns = {
        "number": pa.array([number], pa.int64()),
        "batch": pa.array([batch], pa.large_binary()),
        "problem": pa.array([problem], pa.string()),
    }
    return pa.table(columns)


def versions_here() -> dict[str, str]:
    """What must be the same on all machines; empty for a package that is not installed."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"Python": python, "mig_jax": __version__, **package_versions()}


def _check_address(address: str) -> None:
    """Raises InputError if nobody listens there, which Ray would find out much later."""
    host, _, port = address.rpartition(":")
    expected = "expected HOST:PORT of a cluster that `ray start --head` has started, or auto"
    if not host or not port.isdecimal() or "/" in address:
        raise InputError(f"--ray_address={address}: is no address; {expected}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"--ray_address={address}: {reason}; {expected}") from None


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over SIGTERM when it starts: what ends our commands stays as it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Nothing is written to this process's stderr, not from C++ either: errors are raised, too."""
    before = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
