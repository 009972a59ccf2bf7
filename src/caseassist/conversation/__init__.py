"""The ready dialogue: what to ask next, what to show and what may be answered, as a pure machine over the session."""
