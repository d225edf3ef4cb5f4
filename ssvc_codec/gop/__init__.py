"""Groups of objects and, later, the order of frames."""

from ssvc_codec.gop.groups import Box, cells_of, group_map

__all__ = ["Box", "cells_of", "group_map"]
