"""The conformance kit: whether a connected plugin keeps the runner protocol.

Each check is a dry run, or a look at what the plugin registered. Dry runs are delivered
nowhere and stand alone, so nobody's history has them.
"""
