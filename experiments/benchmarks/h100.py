"""Compiles for an H100 where there is none: by XLA's description of the card.

Needs the extra `cuda` on Linux, but neither a card nor its driver.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
from typing import Any

from mig_jax.errors import InputError

__all__ = ["COMMAND_BUFFERS", "compiled_to", "on_h100", "start"]

#: What goes into CUDA graphs, as `xla_gpu_enable_command_buffer` says it. Loops do not by default.
COMMAND_BUFFERS = {
    "default": "",
    "loops too": "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE",
}

_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")

# Facts of the card, in the form of XLA's `GpuTargetConfigProto`.
_TARGET = """
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3"
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  device_memory_size: 84942979072
  l2_cache_size: 52428800
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  device_address_bits: 64
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
"""


def start() -> None:
    """Makes JAX load the compiler for CUDA and use the host for all that is run.

    To be called before anything of JAX is.

    Raises:
      InputError: if JAX's plugin for CUDA, which has the compiler, is not installed.
    """
    if not any(importlib.util.find_spec(name) for name in _PLUGINS):
        raise InputError(
            f"found none of {' and '.join(_PLUGINS)}, JAX's compilers for CUDA; "
            "expected one of them: pip install 'mig-jax[cuda]' (no card is needed)"
        )
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # It asks the driver for its version.
    import jax

    # The plugin is loaded nevertheless, but not asked for devices.
    jax.config.update("jax_platforms", "cpu")
    # What was compiled before would not be written down again, nor can it be read without a card.
    jax.config.update("jax_enable_compilation_cache", False)


@functools.cache
def _sharding() -> Any:
    """All of an array on the one card."""
    import jax
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(
        "h100", platform="cuda", target_config=_TARGET, topology="1x1x1"
    )
    return jax.sharding.SingleDeviceSharding(topology.devices[0])


def on_h100(tree: Any) -> Any:
    """The shapes and dtypes of the tree's leaves, as arrays that an H100 would hold."""
    import jax

    sharding = _sharding()
    return jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def compiled_to(folder: pathlib.Path, lowered: Any, command_buffers: str = "default") -> Any:
    """The compiled program, of which XLA writes to the folder what `thunks` reads.

    Args:
      folder: of this program alone.
      lowered: from `jax.jit(f).lower` of arguments from `on_h100`.
      command_buffers: of `COMMAND_BUFFERS`.
    """
    options = {"xla_dump_to": str(folder), "xla_dump_hlo_as_text": True}
    if kinds := COMMAND_BUFFERS[command_buffers]:
        options["xla_gpu_enable_command_buffer"] = kinds
    return lowered.compile(compiler_options=options)
