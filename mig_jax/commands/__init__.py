"""The command `mig-jax`: a file for each of its commands, flags in and files out."""
