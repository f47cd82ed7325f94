"""All that reads or writes files, on the host. Nothing here needs JAX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
