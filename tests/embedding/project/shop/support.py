from runners.public import start_run, wait_for_run


def answer(customer, question):
    """Ask the support agent in the customer's name and return what it says."""
    run = start_run(
        "support",
        question,
        actor=customer,
        conversation=f"customer-{customer.pk}",
        metadata={"channel": "help page"},
    )
    return wait_for_run(run, timeout=30).text
