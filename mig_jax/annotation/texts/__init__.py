"""What taggers and scorers see of a record, and what its texts tell without a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
