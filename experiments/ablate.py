"""`mig-jax ablate`, run from a checkout: `python -m experiments.ablate --workdir=DIR`."""

import sys

from mig_jax.commands.ablate import COMMAND
from mig_jax.commands.command import main_of

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="ablate"))
