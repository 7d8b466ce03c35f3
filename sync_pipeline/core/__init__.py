"""Values and rules: no framework, no clock, no network, no log."""
