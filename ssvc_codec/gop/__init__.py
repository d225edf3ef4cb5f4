"""Groups of objects, and groups of pictures: types, order and references of frames."""

from ssvc_codec.gop.groups import Box, cells_of, group_map
from ssvc_codec.gop.planner import FramePlan, GopPlanner
from ssvc_codec.gop.scene_cut import SceneCutDetector

__all__ = ["Box", "FramePlan", "GopPlanner", "SceneCutDetector", "cells_of", "group_map"]
