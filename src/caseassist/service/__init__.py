"""Suggestions: a client of Coveo's Customer Service API, and a stand-in for the service."""
