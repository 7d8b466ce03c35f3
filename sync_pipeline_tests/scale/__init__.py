"""Several machines on one: hosts in namespaces, a broker, an object store, workers."""
