"""`mig-jax ablate`, run from a checkout: `python -m experiments.ablate --workdir=DIR`."""

import sys

from mig_jax.commands.ablate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
