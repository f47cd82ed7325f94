"""`mig-jax learn`, run from a checkout: `python -m experiments.learn_params --workdir=DIR`."""

import sys

from mig_jax.commands.ends import end_at_once

if __name__ == "__main__":
    end_at_once("learn_params")  # Before all that takes time to import.
    from mig_jax.commands.command import main_of
    from mig_jax.commands.learn import COMMAND

    sys.exit(main_of(COMMAND, sys.argv[1:], called="learn_params"))
