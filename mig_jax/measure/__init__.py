"""The measure of the paper's section 3: pool, label graph, score functions, gains."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
