"""Parameters of the measure, learned from data through the relaxed selection."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
