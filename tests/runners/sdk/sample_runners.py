"""Runners for the tests; each shows one thing that teams' runners do."""

import asyncio

from runners.sdk import HostCallError, Runner, results

ended: asyncio.Queue[str] = asyncio.Queue()


class Sample(Runner):
    author = "acme"
    plugin = "sample"
    label = "Sample"
    permissions = {"models": ("invoke", "stream"), "history": ("page",)}


class Talker(Sample):
    """Says as many words as its config tells, then stops."""

    async def run(self, ctx):
        for number in range(ctx.config.get("words", 3)):
            if ctx.config.get("pause"):
                await asyncio.sleep(ctx.config["pause"])
            yield results.delta(f"{number} ")


class Waiter(Sample):
    name = "waiter"

    async def run(self, ctx):
        yield results.delta("waiting")
        try:
            await asyncio.sleep(60)
        finally:
            ended.put_nowait(ctx.run_id)
        yield results.delta("never")


class Stubborn(Sample):
    """Goes on when it is cancelled."""

    name = "stubborn"

    async def run(self, ctx):
        yield results.delta("first")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.put_nowait(ctx.run_id)
        yield results.delta("second")


class Caller(Sample):
    """Makes the host calls named in its config and tells what came back."""

    name = "caller"

    async def run(self, ctx):
        call = getattr(ctx.api, ctx.config["call"])
        try:
            answer = await call(*ctx.config.get("args", ()))
        except HostCallError as error:
            ended.put_nowait(error.code)
            yield results.failed(error.code, error.message, retryable=error.retryable)
        else:
            yield results.state("answer", repr(answer))


class Streamer(Sample):
    name = "streamer"

    async def run(self, ctx):
        stop_after = ctx.config.get("stop_after", 1000)
        count = 0
        async for part in ctx.api.invoke_llm_stream("m1", [{"role": "user"}]):
            yield results.delta(part.text)
            count += 1
            if count == stop_after:
                break


class Odd(Sample):
    """Ends the way its config tells."""

    name = "odd"

    async def run(self, ctx):
        yield results.delta("so far")
        match ctx.config["end"]:
            case "raise":
                message = "it broke"
                raise ValueError(message)
            case "own timeout":
                raise TimeoutError
            case "text":
                yield "just text"
            case "not json":
                yield results.state("k", object())
            case "twice":
                yield results.failed("acme.bad", "first", retryable=True)
                yield results.run_completed()
            case "whole":
                usage = {"total_tokens": 3}
                yield results.completed("the whole message", ["f1"])
                yield results.run_completed("bye", finish_reason="length", usage=usage)


class Twin(Talker):
    """Claims the id of another runner."""


class Nameless(Talker):
    plugin = "has spaces"


ALL = (Talker, Waiter, Stubborn, Caller, Streamer, Odd)
