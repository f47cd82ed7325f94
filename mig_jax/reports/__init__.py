"""What is told of selections, of learning and of grids: manifests, pages, plots."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
