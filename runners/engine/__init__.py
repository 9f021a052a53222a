"""One asyncio loop per worker process that claims runs and carries them."""
