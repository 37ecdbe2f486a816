"""The ranking rule: exact ranks and best candidates of a whole bank."""
