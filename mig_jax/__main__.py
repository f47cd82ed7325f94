"""`python -m mig_jax` is `mig-jax`."""

import sys

from mig_jax.cli import main

sys.exit(main())
