"""The flags of where a selection runs: on which devices, and in which processes together."""

from __future__ import annotations

from absl import flags

from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import AddFlag, Address, Text
from mig_jax.commands.idle_flags import refuse_idle
from mig_jax.commands.standard_streams import STANDARD
from mig_jax.errors import InputError

__all__ = ["check_process_flags", "define_process_flags"]


class _Devices(Text):
    shown = "N|all"


def define_process_flags(add: AddFlag) -> None:
    """Adds the devices, and the processes that select together."""
    add = add.under(Section.TOGETHER)
    add(
        _Devices,
        "devices",
        None,
        "How many devices to shard the pool over: a number, or `all`. By default 1, or all of "
        "them with --coordinator_address.",
    )
    add(
        Address,
        "coordinator_address",
        None,
        "host:port of process 0, if several processes select together: the same command is "
        "started once for each of them, with its --process_id. All must get the same flags and "
        "see the same files, which is checked; each reads a part of --pool; process 0 writes.",
    )
    add(
        flags.DEFINE_integer,
        "num_processes",
        1,
        "How many processes there are, with --coordinator_address.",
        lower_bound=1,
    )
    add(
        flags.DEFINE_integer,
        "process_id",
        0,
        "Which of the processes this is, from 0.",
        lower_bound=0,
    )
    add(
        flags.DEFINE_integer,
        "process_timeout_seconds",
        60,
        "How long to wait for the other processes at the start, and for a sign of life later.",
        lower_bound=1,
    )


def check_process_flags(values: flags.FlagValues) -> None:
    """Raises InputError if the flags of `define_process_flags` cannot be used."""
    devices = values.devices
    if devices not in (None, "all") and not (devices.isdecimal() and int(devices)):
        raise InputError(f"--devices: found {devices}, expected a number above 0 or all")
    address = values.coordinator_address
    if address is None:
        if values.num_processes > 1:
            raise InputError("--num_processes: goes with --coordinator_address=HOST:PORT")
        own = ("process_id", "process_timeout_seconds")
        refuse_idle(values, own, False, "--coordinator_address=HOST:PORT")
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError(
            f"--coordinator_address: found {address}, expected HOST:PORT with a port of 1 to 65535"
        )
    if values.process_id >= values.num_processes:
        raise InputError(
            f"--process_id: found {values.process_id}, expected less than --num_processes, "
            f"which is {values.num_processes}"
        )
    if not values.pool:
        raise InputError("--coordinator_address: goes with --pool=FILE")
    for name, of in (("pool", values.pool), ("output", [values.output])):
        if STANDARD in of:
            raise InputError(
                f"--{name}: {STANDARD} does not go with --coordinator_address; expected a file"
            )
    if values.embedding_model is not None:
        # Hosts may round differently, and would select over different graphs.
        raise InputError(
            "--embedding_model: does not go with --coordinator_address; `mig-jax embed_labels` "
            "makes embeddings for all processes"
        )
