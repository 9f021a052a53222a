from runners.sdk import RunContext, Runner, results


class Greeter(Runner):
    author = "shop"
    plugin = "greeter"
    label = "Greeter"

    async def run(self, ctx: RunContext):
        yield results.completed(f"Good day, {ctx.text}!")
