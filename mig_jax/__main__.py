"""`mig-jax`, which is `python -m mig_jax` too."""

import sys

from mig_jax.commands.ends import end_at_once, ignore_all


def main() -> int:
    """Runs the command; a signal ends it with one line while all else is being imported, too."""
    end_at_once("mig-jax")
    from mig_jax.commands.main import main

    status = main()
    ignore_all()
    return status


if __name__ == "__main__":
    sys.exit(main())
