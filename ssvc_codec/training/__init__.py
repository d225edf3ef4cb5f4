"""Training of the networks. Nothing here is needed to encode or decode."""
