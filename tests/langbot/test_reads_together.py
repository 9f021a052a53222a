"""Small messages that follow each other closely cost one read, not one each."""

import time

from tests.langbot.test_server_backpressure import COMMAND, started


def test_small_messages_that_follow_each_other_are_read_together():
    with started([*COMMAND, "--port", "0"]) as server, server.websocket("reads") as one:
        for number in range(300):
            one.send(f"message {number}")
            time.sleep(0.0001)
        one.send("count")
        assert 1 <= int(one.recv(timeout=10)) <= 150
