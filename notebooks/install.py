# On a fresh machine, such as Colab's: installs mig_jax. Does nothing if it is there already.
import importlib.util
import subprocess
import sys

REPOSITORY = ""  # Where the code is, such as "https://github.com/NAME/mig_jax"; "" for PyPI.
SOURCE = "mig-jax[notebooks]" + (f" @ git+{REPOSITORY}" if REPOSITORY else "")
if importlib.util.find_spec("mig_jax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", SOURCE], check=True)
