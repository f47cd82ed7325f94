from ._fingerprints import differences, digest

__all__ = ["differences", "digest"]
