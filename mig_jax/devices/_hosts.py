"""The processes that hold a pool together, as a command sees them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Shaped

from mig_jax.devices._sharding import all_gather_parts, num_parts, own_part
from mig_jax.errors import InputError
from mig_jax.measure import Array

__all__ = ["ALONE", "Hosts"]

_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The processes whose devices are in a mesh; this one alone if there is no mesh.

    Each runs the same program and calls these methods in the same order: a method that
    exchanges something waits for all.

    >>> alone = Hosts()
    >>> alone.count, alone.index, alone.is_first, alone.num_devices
    (1, 0, True, 1)
    >>> alone.gather(np.arange(3))
    [array([0, 1, 2])]
    """

    mesh: Mesh | None = None  #: What `select` and `certify` shard the pool over.

    @property
    def count(self) -> int:
        """How many processes there are; each holds a part of the pool."""
        return num_parts(self.mesh)

    @property
    def index(self) -> int:
        """Which of them this is, and which part of the pool it holds."""
        return own_part(self.mesh)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.index == 0

    @property
    def num_devices(self) -> int:
        """The devices of all processes together."""
        return 1 if self.mesh is None else self.mesh.size

    def gather(self, array: Shaped[Array, " n"]) -> list[np.ndarray]:
        """What each process gives, in their order: arrays of one dtype and of any length."""
        return all_gather_parts(array, self.mesh)

    def sum(self, value: int) -> int:
        """The sum of the integers that the processes give."""
        return int(np.sum(self.gather(np.array([value], np.int64))))

    def together(self, step: Callable[[], _Result]) -> _Result:
        """What `step` returns, once it has returned in all processes.

        Raises:
          InputError: if it, or an OSError, did in any process: in all of them that of the first.
        """
        if self.count == 1:
            return step()
        result, message = None, b""
        try:
            result = step()
        except InputError as error:
            message = str(error).encode()
        except OSError as error:  # As if a disk is full: the others must not wait.
            where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
            message = f"{where}{error.strerror or error}".encode("utf-8", "backslashreplace")
        for told in self.gather(np.frombuffer(message, np.uint8)):
            if told.size:
                raise InputError(told.tobytes().decode())
        return result  # type: ignore[return-value]


#: One process that has the whole pool, on one device.
ALONE: Final = Hosts()
