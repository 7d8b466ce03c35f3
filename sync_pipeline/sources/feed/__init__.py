"""What changed since the last look, told by triggers (``core.ports.ChangeFeed``)."""
