"""`python -m mig_jax` is `mig-jax`."""

import sys

from mig_jax.commands.main import main

sys.exit(main())
