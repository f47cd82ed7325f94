"""Pretrained language models in JAX: read, fine-tuned on a selection, and asked what they lose."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
