"""The HTTP API over a bundle: FastAPI and uvicorn, micro-batches, limits, keys, metrics, hot swap, and the page."""
