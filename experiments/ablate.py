"""`mig-jax ablate`, run from a checkout: `python -m experiments.ablate --workdir=DIR`."""

import sys

from mig_jax.commands.ends import end_at_once

if __name__ == "__main__":
    end_at_once("ablate")  # Before all that takes time to import.
    from mig_jax.commands.ablate import COMMAND
    from mig_jax.commands.command import main_of

    sys.exit(main_of(COMMAND, sys.argv[1:], called="ablate"))
