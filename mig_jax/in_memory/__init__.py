"""Selection of records that a Python session holds: the command `mig-jax select` as a function."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
