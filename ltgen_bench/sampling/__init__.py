"""Drawing images from a trained network: samplers, labels, chunks."""
