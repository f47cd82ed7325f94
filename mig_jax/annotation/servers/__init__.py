"""Language models on a server: questions, answers that outlive a kill, taggers and scorers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
