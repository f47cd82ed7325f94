"""Other ways to choose, which the paper and its critics compare with: one registry of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
