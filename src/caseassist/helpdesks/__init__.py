"""Helpdesks: where tickets are filed."""
