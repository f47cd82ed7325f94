"""What belongs to which run: fingerprints, and one way to save, restore, lock and refuse."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
