"""What writes the generated reference pages: each module has a ``render()`` that returns its page."""
