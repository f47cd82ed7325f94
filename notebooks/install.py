# On a fresh machine, such as Colab's: installs mig_jax. Does nothing if it is there already.
import importlib.util
import subprocess
import sys

SOURCE = "mig-jax[notebooks]"  # For a copy of your own: "mig-jax[notebooks] @ git+URL".
if importlib.util.find_spec("mig_jax") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", SOURCE], check=True)
