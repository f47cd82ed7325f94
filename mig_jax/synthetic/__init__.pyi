from ._builtin_pool import BuiltinPool

__all__ = ["BuiltinPool"]
