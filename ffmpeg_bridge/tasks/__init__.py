"""Machine tasks on parts of a stream: what `ssvc eval` measures.

task says what a task is; detect, pose, segment and action are the four. own_stream codes with ssvc and reads parts,
run brings items, codecs and cache together, report writes what came out. coco, davis and ucf101 read data sets.
"""
