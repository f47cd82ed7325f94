"""Pictures of label graphs, selections and measures, on axes that the caller may give."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
