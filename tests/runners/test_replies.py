from runners.replies import ReplyText


def delta(text):
    return {"type": "message.delta", "data": {"text": text}}


def completed(text):
    return {"type": "message.completed", "data": {"text": text}}


def test_text_comes_once_whether_streamed_or_whole():
    reply = ReplyText()
    events = [delta("Hel"), delta("lo"), completed("Hello!"), completed("Bye")]
    assert [reply.add(event) for event in events] == ["Hel", "lo", "!", "\n\nBye"]
    assert reply.text == "Hello!\n\nBye"


def test_what_was_streamed_is_not_taken_back():
    reply = ReplyText()
    events = [delta("Hello"), completed("Something else"), delta("Bye")]
    assert [reply.add(event) for event in events] == ["Hello", "", "\n\nBye"]


def test_other_events_say_nothing():
    reply = ReplyText()
    assert reply.add({"type": "processor.log", "data": {"text": "x"}}) == ""
    assert reply.add({"type": "run.completed", "data": {}}) == ""
    assert reply.text == ""
