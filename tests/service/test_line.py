"""What the worker tells a supervisor that does not listen for a while."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import zmq
from serving import wait_until

from dreamcraft3d.service.line import IN_FLIGHT, Line
from dreamcraft3d.service.worker_messages import FROM_WORKER, Done, Progress
from dreamcraft3d_protocol.codec import decode
from dreamcraft3d_protocol.messages import Message

JOB = str(uuid.uuid4())
DONE = Done(JOB, 1.0)
SERVER, WORKER = zmq.curve_keypair(), zmq.curve_keypair()


@pytest.fixture
def supervisor() -> Iterator[zmq.Socket[bytes]]:
    """Its socket, at a port where nobody listens yet."""
    with zmq.Context() as context:
        socket = context.socket(zmq.PAIR)
        socket.linger, socket.curve_server = 0, True
        socket.curve_publickey, socket.curve_secretkey = SERVER
        socket.bind_to_random_port("tcp://127.0.0.1")
        socket.unbind(socket.last_endpoint)
        yield socket
        context.destroy(linger=0)


def progress(stage: str, step: int, sentence: str = "") -> Progress:
    return Progress(JOB, stage, step, 10_000, 1.0, None, sentence)


def test_of_progress_that_nobody_read_the_newest_of_each_stage_is_told_and_every_sentence(
    supervisor: zmq.Socket[bytes],
) -> None:
    endpoint = supervisor.last_endpoint
    line = Line(endpoint.decode(), SERVER[0], *WORKER)
    line.start()
    for step in range(1000):
        line.tell(progress("coarse", step, "Look." if step == 500 else ""), {})
    for step in range(1000):
        line.tell(progress("geometry", step), {})
    line.tell(DONE, {})
    supervisor.bind(endpoint)
    heard: list[Message] = []

    def done() -> bool:
        while supervisor.poll(0):
            heard.append(decode(supervisor.recv_multipart(), FROM_WORKER)[0])
        return DONE in heard

    wait_until(done, 20)
    told = [message for message in heard if isinstance(message, Progress)]
    assert len(told) < 20 + IN_FLIGHT
    assert [message.step for message in told if message.sentence] == [500]
    assert progress("coarse", 999) in told
    assert told[-1] == progress("geometry", 999)
    assert heard.index(told[-1]) < heard.index(DONE)
