"""What computes a model's vectors in this process: torch, ONNX Runtime, or numpy alone."""
