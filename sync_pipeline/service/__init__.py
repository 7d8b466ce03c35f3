"""The HTTP service and the operations page: what applications and their operators use."""
