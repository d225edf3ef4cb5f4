"""Entropy coding of integer symbols: tables, the integer scale head, strings. No torch."""

from .coder import StringDecoder, SymbolCoder
from .scale_head import IntegerScaleHead
from .tables import gaussian_tables, scale_of_index

__all__ = ["IntegerScaleHead", "StringDecoder", "SymbolCoder", "gaussian_tables", "scale_of_index"]
