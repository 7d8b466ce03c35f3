"""Landing: passes through the records of other systems, into tables of ours."""
