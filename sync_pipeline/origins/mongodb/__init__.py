"""Collections of MongoDB as the origin of landings, read with pymongo; nothing is written there.

``identity`` gives every ``_id`` a text and finds documents by it, ``values`` makes plain values of
BSON, ``keyset`` says what comes after an ``_id`` in the server's order, ``deployment`` holds the
client, ``errors`` translates, ``scan`` reads pages, ``stream`` hears of changes, ``examine`` tells
people what is there, and ``origin`` is what ``core.ports.RecordOrigin`` promises.

pymongo is an extra (``sync-pipeline[mongodb]``): importing this package without it raises
``ModuleNotFoundError``.
"""

from sync_pipeline.origins.mongodb.origin import MongoOrigin

__all__ = ["MongoOrigin"]
