"""Streams made smaller without decoding them: packets in, packets out. No torch."""

from .chains import ReadableChains
from .extract import Extractor, GopFilter
from .redact import Redactor
from .scene import Scene, SceneReader
from .timeline import edited

__all__ = ["Extractor", "GopFilter", "ReadableChains", "Redactor", "Scene", "SceneReader", "edited"]
