from ._candidates import Candidates, Limits, Method, Texts, Wanted, take
from ._registry import METHODS, Need, RegisteredMethod, choose, method_named

__all__ = [
    "METHODS",
    "Candidates",
    "Limits",
    "Method",
    "Need",
    "RegisteredMethod",
    "Texts",
    "Wanted",
    "choose",
    "method_named",
    "take",
]
