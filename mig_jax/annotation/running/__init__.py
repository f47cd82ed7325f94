"""From records to a journal of annotations: which stay, a batch at a time, by which engine."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
