"""`mig-jax learn`, run from a checkout: `python -m experiments.learn_params --workdir=DIR`."""

import sys

from mig_jax.commands.command import main_of
from mig_jax.commands.learn import COMMAND

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="learn_params"))
