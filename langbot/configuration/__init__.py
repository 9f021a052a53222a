"""A workspace's configuration as one JSON document: exported, compared, applied.

References go by slug or name, so that a document fits another installation. Secrets
are never exported; a document may bring new ones, and what it leaves out stays.
"""
