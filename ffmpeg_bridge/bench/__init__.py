"""Rate and distortion of ssvc beside other codecs, on the same samples: what `ssvc bench` and benchmarks/ share.

clips -> codec (anchors, libjpeg, vvenc, own_codec, compressai_codec; chosen by registry) -> results (rows, cache)
-> comparisons (BD-rate) -> report, plots. run ties them together.
"""
