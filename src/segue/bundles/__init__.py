"""Bundles: the winner of a comparison and everything it needs, in one hashed folder."""
