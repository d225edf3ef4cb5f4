"""What is in the pictures: detectors and tracking. Imports neither torch nor ONNX Runtime by itself."""
