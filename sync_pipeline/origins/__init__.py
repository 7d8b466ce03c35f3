"""Records of other systems, for the port ``RecordOrigin``: REST, MongoDB, other loaders' tables."""
