"""mig_jax chooses instruction-tuning data: information over a label graph, maximised greedily.

Importing this package touches no file and starts no device. Names are imported when they are
first used, JAX with them; `__init__.pyi` says from which room each comes.
"""

import lazy_loader

from mig_jax._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
