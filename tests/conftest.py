"""Settings for all tests."""

import hashlib
import importlib.util
import os
import pathlib
import platform
import signal

# Before jax starts: eight virtual devices on one CPU, for the tests of sharded pools.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import hypothesis
import jax
import jaxtyping
import platformdirs
import pytest
from jax.experimental.compilation_cache import compilation_cache

# Before any of these rooms is imported: their annotations are checked at every call. An int is a
# float there (PEP 484), as it is to mypy.
jaxtyping.install_import_hook(
    [f"mig_jax.{room}" for room in ("devices", "measure", "relaxation", "selection")],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

# Compilation makes first calls slow: times say nothing about correctness.
hypothesis.settings.register_profile(
    "mig_jax", deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("mig_jax")

# What one process has compiled, pytest's workers, the commands that tests start and later runs need
# not compile again: JAX finds a program by all that it is made of, so that changed code is compiled
# anew. The folder is of this machine's kind of processor, as compiled programs are.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    described = pathlib.Path("/proc/cpuinfo")
    about = described.read_text() if described.exists() else platform.platform()
    # What it can do, not how fast it runs just now.
    lines = [line for line in about.splitlines() if line.startswith(("model name", "flags"))]
    kind = hashlib.sha256("\n".join(lines or [about]).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("mig_jax_tests", appauthor=False) / kind
    for name, value in {
        "jax_compilation_cache_dir": str(folder),
        # With a largest size JAX locks the folder, so that nobody reads a file half written.
        "jax_compilation_cache_max_size": 1 << 31,
        "jax_persistent_cache_min_compile_time_secs": 0.1,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)

# An example to copy: its doctests need what it is about.
collect_ignore = [] if importlib.util.find_spec("grain") else ["trainers/grain_example.py"]

# If the tests run in the background, or under nohup, these are ignored, and would be by the
# commands they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_compiled: list[str] = []  # Names of the programs compiled since maps were last counted.
_MAPS = pathlib.Path("/proc/self/maps")


def _on_duration(event: str, _: float, **details: object) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(str(details.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(_on_duration)


SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory):
    """Commands that the tests run must not fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def compiled_programs_do_not_pile_up():
    """Drops compiled programs between tests, once they hold many memory maps.

    A program compiled for the CPU holds about 25, of which a Linux process may have 65,530:
    beyond, the compiler crashes. Property tests compile hundreds of programs each.
    """
    yield
    if len(_compiled) > 100 and _MAPS.exists():  # Counting takes some milliseconds.
        _compiled.clear()
        if _MAPS.read_bytes().count(b"\n") > 20_000:
            jax.clear_caches()


@pytest.fixture
def compiled() -> list[str]:
    """Names of the programs compiled since the test began, or since it cleared the list."""
    _compiled.clear()
    return _compiled


@pytest.fixture
def jax_as_it_comes(monkeypatch: pytest.MonkeyPatch):
    """Settings of JAX's cache as of a user who has set none, by name: the tests have their own."""
    usual = {
        "jax_compilation_cache_dir": None,
        "jax_compilation_cache_max_size": -1,
        "jax_enable_compilation_cache": True,
        "jax_persistent_cache_min_compile_time_secs": 1.0,
        "jax_persistent_cache_enable_xla_caches": "xla_gpu_per_fusion_autotune_cache_dir",
    }
    before = {name: getattr(jax.config, name) for name in usual}
    for name, value in usual.items():
        monkeypatch.delenv(name.upper(), raising=False)
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield usual
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def annotations_unchecked():
    """For tests of what is refused without the import hook, as when users run it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def shared_data() -> pathlib.Path:
    """The folder with real pools, which stands beside the repository or nowhere."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real pools (../shared/data) are not here")
    return SHARED / "data"
