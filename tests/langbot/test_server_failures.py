"""`langbot.server`: what a connection's own code raises is found in the log."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.langbot.test_server_backpressure import COMMAND, started


@pytest.mark.parametrize("size", [3, 70_000])
def test_what_a_message_raises_is_logged_once_and_cuts_its_socket(size):
    with started([*COMMAND, "--port", "0"]) as server:
        client = server.websocket("takes-badly")
        with client, pytest.raises(ConnectionClosed):
            client.send("x" * size)
            client.recv(timeout=30)
        assert server.get("quick").read() == b"quick"
        server.process.terminate()
        log = server.process.stderr.read().decode()
    assert log.count(f"ValueError: cannot take {size}") == 1
    assert log.count("Traceback (most recent call last)") == 1
    assert "ERROR" in log


def test_a_refused_socket_that_was_reaped_ends_in_silence():
    with started([*COMMAND, "--port", "0"]) as server:
        with pytest.raises(InvalidStatus):
            server.websocket("refused-while-reaped")
        assert server.get("quick").read() == b"quick"
        server.process.terminate()
        log = server.process.stderr.read().decode()
    assert "Traceback" not in log
