"""Connections of an HTTP transport, for each event loop in the way that costs least."""
