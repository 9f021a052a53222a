"""Benchmarks: our host against a bare WebSocket server with the same plugin."""
