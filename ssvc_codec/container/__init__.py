"""The Matroska profile of .ssv, read without libavformat: which packet lies where. No torch, no PyAV."""
