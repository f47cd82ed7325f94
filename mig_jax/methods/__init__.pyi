from ._candidates import Candidates, Limits, Method, Texts, Wanted, take

__all__ = ["Candidates", "Limits", "Method", "Texts", "Wanted", "take"]
