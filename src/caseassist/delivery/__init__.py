"""Delivery: a courier for each sink moves records from the store to it and keeps its position."""
