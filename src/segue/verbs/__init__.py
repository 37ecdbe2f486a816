"""One file per verb: each composes the floors below into one thing a user asks for."""
