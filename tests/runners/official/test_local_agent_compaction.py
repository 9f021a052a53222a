"""LB-99: long conversations go on with a summary; whatever fails leaves the tail."""

import pytest

from runners.official.local_agent import LocalAgentRunner
from runners.official.local_agent_checkpoint import KEY, SCHEMA
from runners.sdk import HostCallError

PROMPT = [{"role": "system", "content": "Be brief."}]
LONG = [
    ("user" if number % 2 else "assistant", f"line {number} " + "x" * 90)
    for number in range(1, 41)
]  # about 30 tokens each for the host in memory
APIS = {"history_page": True, "prompt_get": True, "state": True}


def checkpoint(**fields):
    return {
        "schema_version": SCHEMA,
        "summary": "They like tea.",
        "covers_until": "38",
        "tokens_before": 900,
        "created_at": 1,
        "conversation_id": "conversation",
    } | fields


class Talkative:
    """A model that sums up when it is told to, and keeps what it was asked."""

    def __init__(self, summary="Ann asked 40 things."):
        self.summary = summary
        self.summed = []

    def __call__(self, request):
        if "Summarise" not in request["messages"][0]["content"]:
            return "Hello"
        self.summed.append(request["messages"][1]["content"])
        if isinstance(self.summary, Exception):
            raise self.summary
        return self.summary


async def talk(model, window=1000, kept=None, **given):
    config = {"model": {"primary": "m", "fallbacks": []}, **given.pop("config", {})}
    apis = given.pop("apis", APIS)
    context = {"conversation_id": "conversation", "available_apis": apis}
    metadata = {"model_context_window_tokens": window} if window else {}
    return await LocalAgentRunner.test(
        "and now?",
        config=config,
        models={"m": model},
        history=given.pop("history", LONG),
        prompt=given.pop("prompt", PROMPT),
        state={"conversation": {KEY: kept}} if kept is not None else {},
        context={
            "run_id": given.pop("run_id", "run"),
            "context": context,
            "runtime": {"metadata": metadata},
        },
        **given,
    )


def read(outcome):
    """The messages that the answer was made of, behind the prompt."""
    (asked,) = outcome.called("invoke_llm_stream")
    assert asked["messages"][0] == PROMPT[0]
    return [message["content"] for message in asked["messages"][1:]]


def said(first, last):
    return [text for _role, text in LONG[first - 1 : last]]


async def test_near_the_window_the_older_part_becomes_a_summary():
    model = Talkative()
    outcome = await talk(model)
    summary, *rest, current = read(outcome)
    assert "Ann asked 40 things." in summary
    assert current == "and now?"
    kept = outcome.state["conversation"][KEY]
    until = int(kept["covers_until"])
    assert 20 <= until < 40
    assert rest == said(until + 1, 40)
    assert kept["schema_version"] == "langbot.local_agent.compaction_checkpoint.v1"
    assert kept["summary"] == "Ann asked 40 things."
    assert kept["conversation_id"] == "conversation"
    assert kept["tokens_before"] > 750
    assert kept["created_at"] > 1_700_000_000
    assert len(outcome.called("state_set")) == 1
    (told,) = model.summed
    assert LONG[until - 1][1] in told
    assert LONG[until][1] not in told


async def test_a_summary_counts_to_what_the_run_used():
    outcome = await talk(Talkative())
    plain = await talk(Talkative(), window=None)
    used, usual = (one.results[-1].usage["prompt_tokens"] for one in (outcome, plain))
    (asked,) = outcome.called("invoke_llm")
    assert used > sum(len(m["content"]) for m in asked["messages"]) // 4
    assert usual > 0


async def test_after_a_checkpoint_only_what_came_later_is_read():
    outcome = await talk(Talkative(), kept=checkpoint())
    summary, *rest = read(outcome)
    assert "They like tea." in summary
    assert rest == [*said(39, 40), "and now?"]
    (page,) = outcome.called("history_page")
    assert (page["after_cursor"], page["direction"]) == ("37", "forward")
    assert not outcome.called("state_set")


async def test_what_came_after_a_checkpoint_is_read_to_the_last_page():
    history = [("user", f"{number}") for number in range(250)]
    outcome = await talk(
        Talkative(), 100_000, checkpoint(covers_until="20"), history=history
    )
    assert read(outcome)[1:] == [text for _role, text in history[20:]] + ["and now?"]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        "text",
        checkpoint(schema_version="langbot.local_agent.compaction_checkpoint.v2"),
        checkpoint(conversation_id="another"),
        checkpoint(covers_until="4000"),
        checkpoint(covers_until="abc"),
        checkpoint(covers_until="0"),
        checkpoint(summary=None),
    ],
)
async def test_a_checkpoint_of_no_use_leaves_the_newest_messages(kept):
    config = {"context-history-fetch-limit": 5}
    outcome = await talk(Talkative(), 100_000, kept, config=config)
    assert read(outcome) == [*said(36, 40), "and now?"]


async def test_the_summary_before_is_part_of_the_next():
    model = Talkative()
    outcome = await talk(model, kept=checkpoint(covers_until="5"))
    (told,) = model.summed
    assert "They like tea." in told
    assert "They like tea." not in str(read(outcome))
    kept = outcome.state["conversation"][KEY]
    assert int(kept["covers_until"]) > 5
    assert kept["summary"] == model.summary


FAILING = HostCallError("model.error", "no answer")


@pytest.mark.parametrize("summary", [FAILING, "", "word " * 4000])
async def test_without_a_good_summary_the_run_goes_on_with_the_tail(summary):
    config = {"context-history-fetch-limit": 30}
    outcome = await talk(Talkative(summary), config=config)
    assert read(outcome) == [*said(11, 40), "and now?"]
    assert outcome.status == "completed"
    assert not outcome.called("state_set")
    assert len(outcome.of("processor.log")) == 1


async def test_a_failing_summary_behind_a_checkpoint_keeps_it_and_the_tail():
    config = {"context-history-fetch-limit": 10}
    outcome = await talk(
        Talkative(FAILING), kept=checkpoint(covers_until="5"), config=config
    )
    summary, *rest = read(outcome)
    assert "They like tea." in summary
    assert rest == [*said(31, 40), "and now?"]


@pytest.mark.parametrize(
    "given",
    [
        {"window": None},
        {"window": 100_000},
        {"apis": APIS | {"state": False}},
        {"config": {"context-compaction": False}},
    ],
)
async def test_there_is_no_summary_without_need_or_right(given):
    model = Talkative()
    outcome = await talk(model, **given)
    assert read(outcome) == [*said(1, 40), "and now?"]
    assert not model.summed
    assert not outcome.called("state_set")


@pytest.mark.parametrize(
    "off",
    [{"apis": APIS | {"state": False}}, {"config": {"context-compaction": False}}],
)
async def test_switched_off_no_checkpoint_is_read(off):
    outcome = await talk(Talkative(), kept=checkpoint(), **off)
    assert read(outcome) == [*said(1, 40), "and now?"]


async def test_no_model_is_paid_where_the_state_is_refused():
    def refused(_data):
        raise HostCallError("permission.denied", "this run has no conversation state")

    model = Talkative()
    outcome = await talk(model, calls={"state_get": refused})
    assert read(outcome) == [*said(1, 40), "and now?"]
    assert not model.summed


async def test_a_checkpoint_of_another_run_is_not_overwritten():
    values = iter([None, checkpoint(summary="theirs")])
    model = Talkative()
    outcome = await talk(model, calls={"state_get": lambda _: {"value": next(values)}})
    assert len(model.summed) == 1
    assert model.summary in read(outcome)[0]
    assert not outcome.called("state_set")


async def test_a_refused_checkpoint_does_not_end_the_run():
    def refused(_data):
        raise HostCallError("too_large", "too many keys")

    outcome = await talk(Talkative(), calls={"state_set": refused})
    assert outcome.status == "completed"
    assert "Ann asked" in read(outcome)[0]
    assert len(outcome.of("processor.log")) == 1


async def test_a_run_that_goes_on_after_a_pause_leaves_all_as_it_is():
    rows = [*LONG, ("assistant", "mine")]
    items = [
        {"role": role, "content": text, "seq": seq, "run_id": "r" if seq > 40 else ""}
        for seq, (role, text) in enumerate(rows, 1)
    ]
    page = {"items": items[::-1], "has_more": False}
    model = Talkative()
    calls = {"history_page": lambda _: page}
    outcome = await talk(model, calls=calls, run_id="r")
    assert read(outcome) == [*said(1, 40), "and now?", "mine"]
    assert not model.summed


async def test_a_window_that_is_full_of_the_prompt_is_left_so():
    model = Talkative()
    history = [("user", f"{number}") for number in range(8)]
    outcome = await talk(
        model,
        1200,
        checkpoint(covers_until="2"),
        history=history,
        config={"context-history-fetch-limit": 3},
        prompt=[*PROMPT, {"role": "system", "content": "x" * 4000}],
    )
    assert read(outcome)[2:] == ["2", "3", "4", "5", "6", "7", "and now?"]
    assert not model.summed
    assert len(outcome.called("count_tokens")) > 1


async def test_a_message_that_fills_the_window_by_itself_is_not_summed_up():
    model = Talkative()
    outcome = await talk(model, history=[("user", "x" * 9000)])
    assert len(read(outcome)) == 2
    assert not model.summed
