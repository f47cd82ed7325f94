"""What runs the commands and the Python of the README and the documentation as they are printed.

`pages` finds the blocks, `shell` reads commands out of them, `stand_ins` makes the files that they
name, `tables` says what is known of single ones (what cannot run here, and why), `parsing` checks
the flags of a command without running it, and `running` goes through a page.
"""
