"""`mig-jax learn`, run from a checkout: `python -m experiments.learn_params --workdir=DIR`."""

from absl import app

from mig_jax.commands.learn import main

if __name__ == "__main__":
    app.run(main)
