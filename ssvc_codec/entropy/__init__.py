"""Entropy coding of integer symbols: tables, the integer scale head, strings. No torch."""

from .block_heads import IntegerBlockHeads
from .coder import StringDecoder, SymbolCoder
from .scale_head import IntegerScaleHead
from .tables import gaussian_tables, scale_of_index

__all__ = ["IntegerBlockHeads", "IntegerScaleHead", "StringDecoder", "SymbolCoder", "gaussian_tables", "scale_of_index"]
