"""What model calls used and cost: records, prices, quotas and tiers."""

import agents.resources.usage
import django.db.models.deletion
import langbot.lib.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("langbot_agents", "0007_busy_strategy"),
        ("langbot_core", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelPrice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=langbot.lib.ids.uuid7,
                        editable=False,
                        unique=True,
                        verbose_name="id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="created"),
                ),
                (
                    "valid_from",
                    models.DateTimeField(
                        default=agents.resources.usage.now, verbose_name="valid from"
                    ),
                ),
                (
                    "input_microdollars",
                    models.PositiveBigIntegerField(verbose_name="input"),
                ),
                (
                    "output_microdollars",
                    models.PositiveBigIntegerField(default=0, verbose_name="output"),
                ),
                (
                    "cached_microdollars",
                    models.PositiveBigIntegerField(
                        blank=True, null=True, verbose_name="cached input"
                    ),
                ),
                (
                    "cache_write_microdollars",
                    models.PositiveBigIntegerField(
                        blank=True, null=True, verbose_name="writing the cache"
                    ),
                ),
                (
                    "reasoning_microdollars",
                    models.PositiveBigIntegerField(
                        blank=True, null=True, verbose_name="reasoning"
                    ),
                ),
                (
                    "call_microdollars",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Microdollars for one call, such as a search of a rerank model.",
                        verbose_name="each call",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="prices",
                        to="langbot_agents.model",
                        verbose_name="model",
                    ),
                ),
            ],
            options={
                "verbose_name": "price",
                "verbose_name_plural": "prices",
                "ordering": ["model", "-valid_from"],
            },
        ),
        migrations.CreateModel(
            name="OpenModelCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "person",
                    models.CharField(blank=True, max_length=300, verbose_name="person"),
                ),
                ("run_id", models.UUIDField(null=True, verbose_name="run")),
                ("invocation", models.PositiveSmallIntegerField(default=1)),
                (
                    "call",
                    models.BigIntegerField(default=0, verbose_name="request number"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("llm", "language model"),
                            ("rerank", "rerank model"),
                            ("embedding", "embedding model"),
                        ],
                        default="llm",
                        max_length=20,
                        verbose_name="kind",
                    ),
                ),
                (
                    "model_name",
                    models.CharField(max_length=200, verbose_name="model name"),
                ),
                (
                    "provider_name",
                    models.CharField(max_length=100, verbose_name="provider"),
                ),
                (
                    "token",
                    models.BigIntegerField(default=0, verbose_name="fencing token"),
                ),
                ("is_free", models.BooleanField(default=False)),
                (
                    "reserved_microdollars",
                    models.PositiveBigIntegerField(default=0, verbose_name="reserved"),
                ),
                ("windows", models.JSONField(default=dict)),
                ("started_at", models.DateTimeField(verbose_name="started")),
                (
                    "expires_at",
                    models.DateTimeField(db_index=True, verbose_name="expires"),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="langbot_agents.agent",
                        verbose_name="agent",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="langbot_agents.model",
                        verbose_name="model",
                    ),
                ),
                (
                    "price",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="langbot_agents.modelprice",
                        verbose_name="price",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "model call under way",
                "verbose_name_plural": "model calls under way",
            },
        ),
        migrations.CreateModel(
            name="PersonTier",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=langbot.lib.ids.uuid7,
                        editable=False,
                        unique=True,
                        verbose_name="id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="created"),
                ),
                ("person", models.CharField(max_length=300, verbose_name="person")),
                (
                    "tier",
                    models.CharField(
                        choices=[
                            ("free", "Free"),
                            ("pro", "Pro"),
                            ("business", "Business"),
                            ("enterprise", "Enterprise"),
                        ],
                        default="free",
                        max_length=10,
                        verbose_name="tier",
                    ),
                ),
                (
                    "pending_tier",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("free", "Free"),
                            ("pro", "Pro"),
                            ("business", "Business"),
                            ("enterprise", "Enterprise"),
                        ],
                        max_length=10,
                        verbose_name="next tier",
                    ),
                ),
                (
                    "pending_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="from"),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="person_tiers",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "tier of a person",
                "verbose_name_plural": "tiers of people",
                "ordering": ["person"],
            },
        ),
        migrations.CreateModel(
            name="Quota",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=langbot.lib.ids.uuid7,
                        editable=False,
                        unique=True,
                        verbose_name="id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="created"),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("workspace", "the whole workspace"),
                            ("agent", "one agent"),
                            ("user", "each person, or one"),
                            ("tier", "each person of a tier"),
                        ],
                        max_length=10,
                        verbose_name="counts",
                    ),
                ),
                (
                    "person",
                    models.CharField(
                        blank=True,
                        help_text="The place and the id of a person, such as api:user:7. Empty: each person.",
                        max_length=300,
                        verbose_name="person",
                    ),
                ),
                (
                    "tier",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("free", "Free"),
                            ("pro", "Pro"),
                            ("business", "Business"),
                            ("enterprise", "Enterprise"),
                        ],
                        max_length=10,
                        verbose_name="tier",
                    ),
                ),
                (
                    "window",
                    models.CharField(
                        choices=[("daily", "a day"), ("weekly", "a week from Monday")],
                        max_length=10,
                        verbose_name="window",
                    ),
                ),
                (
                    "limit_microdollars",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="1 USD is 1,000,000; 0 is unlimited. Empty, for people only: the base limit of the settings times the multiplier of their tier.",
                        null=True,
                        verbose_name="limit (microdollars)",
                    ),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quotas",
                        to="langbot_agents.agent",
                        verbose_name="agent",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quotas",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "quota",
                "verbose_name_plural": "quotas",
                "ordering": ["workspace", "scope", "window", "pk"],
            },
        ),
        migrations.CreateModel(
            name="QuotaWindow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("workspace", "the whole workspace"),
                            ("agent", "one agent"),
                            ("user", "each person, or one"),
                            ("tier", "each person of a tier"),
                        ],
                        max_length=10,
                        verbose_name="counts",
                    ),
                ),
                (
                    "subject",
                    models.CharField(blank=True, max_length=300, verbose_name="whose"),
                ),
                (
                    "window",
                    models.CharField(
                        choices=[("daily", "a day"), ("weekly", "a week from Monday")],
                        max_length=10,
                        verbose_name="window",
                    ),
                ),
                ("starts_at", models.DateTimeField(verbose_name="starts")),
                ("ends_at", models.DateTimeField(verbose_name="ends")),
                (
                    "settled_microdollars",
                    models.PositiveBigIntegerField(default=0, verbose_name="spent"),
                ),
                (
                    "reserved_microdollars",
                    models.PositiveBigIntegerField(default=0, verbose_name="reserved"),
                ),
                (
                    "extra_days",
                    models.PositiveSmallIntegerField(
                        default=0, verbose_name="extra days granted"
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "spent so far",
                "verbose_name_plural": "spent so far",
                "ordering": ["-starts_at", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="UsageRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=langbot.lib.ids.uuid7,
                        editable=False,
                        unique=True,
                        verbose_name="id",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="created"),
                ),
                (
                    "person",
                    models.CharField(blank=True, max_length=300, verbose_name="person"),
                ),
                ("run_id", models.UUIDField(null=True, verbose_name="run")),
                ("invocation", models.PositiveSmallIntegerField(default=1)),
                (
                    "call",
                    models.BigIntegerField(default=0, verbose_name="request number"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("llm", "language model"),
                            ("rerank", "rerank model"),
                            ("embedding", "embedding model"),
                        ],
                        default="llm",
                        max_length=20,
                        verbose_name="kind",
                    ),
                ),
                (
                    "model_name",
                    models.CharField(max_length=200, verbose_name="model name"),
                ),
                (
                    "provider_name",
                    models.CharField(max_length=100, verbose_name="provider"),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("completed", "answered"),
                            ("cut_off", "cut off"),
                            ("failed", "failed"),
                            ("lost", "lost with its worker"),
                        ],
                        default="completed",
                        max_length=10,
                        verbose_name="outcome",
                    ),
                ),
                (
                    "prompt_tokens",
                    models.PositiveBigIntegerField(
                        null=True, verbose_name="input tokens"
                    ),
                ),
                (
                    "completion_tokens",
                    models.PositiveBigIntegerField(
                        null=True, verbose_name="output tokens"
                    ),
                ),
                (
                    "cached_tokens",
                    models.PositiveBigIntegerField(
                        null=True, verbose_name="cached tokens"
                    ),
                ),
                (
                    "cache_write_tokens",
                    models.PositiveBigIntegerField(
                        null=True, verbose_name="tokens written to the cache"
                    ),
                ),
                (
                    "reasoning_tokens",
                    models.PositiveBigIntegerField(
                        null=True, verbose_name="reasoning tokens"
                    ),
                ),
                (
                    "estimated",
                    models.BooleanField(default=False, verbose_name="tokens estimated"),
                ),
                (
                    "cost_microdollars",
                    models.BigIntegerField(
                        null=True, verbose_name="cost (microdollars)"
                    ),
                ),
                (
                    "cost_source",
                    models.CharField(
                        choices=[
                            ("provider", "the provider's answer"),
                            ("price", "tokens and price"),
                            ("free", "costs nothing"),
                            ("missing", "cost unknown"),
                        ],
                        max_length=10,
                        verbose_name="cost from",
                    ),
                ),
                (
                    "agent",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="langbot_agents.agent",
                        verbose_name="agent",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="langbot_agents.model",
                        verbose_name="model",
                    ),
                ),
                (
                    "price",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="langbot_agents.modelprice",
                        verbose_name="price",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="langbot_core.workspace",
                        verbose_name="workspace",
                    ),
                ),
            ],
            options={
                "verbose_name": "model call",
                "verbose_name_plural": "model calls",
                "ordering": ["-pk"],
            },
        ),
        migrations.AddConstraint(
            model_name="modelprice",
            constraint=models.UniqueConstraint(
                fields=("model", "valid_from"), name="langbot_price_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="persontier",
            constraint=models.UniqueConstraint(
                fields=("workspace", "person"), name="langbot_person_tier_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="persontier",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("pending_at", None), ("pending_tier", "")),
                    models.Q(
                        models.Q(("pending_tier", ""), _negated=True),
                        ("pending_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="langbot_person_tier_pending",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.UniqueConstraint(
                condition=models.Q(("agent", None)),
                fields=("workspace", "scope", "person", "tier", "window"),
                name="langbot_quota_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.UniqueConstraint(
                condition=models.Q(("agent__isnull", False)),
                fields=("agent", "window"),
                name="langbot_quota_agent_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("agent__isnull", False), ("scope", "agent")),
                    models.Q(
                        models.Q(("scope", "agent"), _negated=True), ("agent", None)
                    ),
                    _connector="OR",
                ),
                name="langbot_quota_agent",
            ),
        ),
        migrations.AddConstraint(
            model_name="quota",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("limit_microdollars__isnull", False),
                    ("scope__in", ("user", "tier")),
                    _connector="OR",
                ),
                name="langbot_quota_limit",
            ),
        ),
        migrations.AddIndex(
            model_name="quotawindow",
            index=models.Index(fields=["ends_at"], name="langbot_quota_window_ended"),
        ),
        migrations.AddConstraint(
            model_name="quotawindow",
            constraint=models.UniqueConstraint(
                fields=("workspace", "scope", "subject", "window", "starts_at"),
                name="langbot_quota_window_once",
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                fields=["workspace", "-id"], name="langbot_usage_workspace"
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                fields=["workspace", "created_at"], name="langbot_usage_period"
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                fields=["agent", "created_at"], name="langbot_usage_agent"
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                fields=["workspace", "person", "created_at"],
                name="langbot_usage_person",
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(fields=["run_id"], name="langbot_usage_run"),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(
                condition=models.Q(("cost_source", "missing")),
                fields=["workspace", "id"],
                name="langbot_usage_missing",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagerecord",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("cost_microdollars", None), ("cost_source", "missing")),
                    models.Q(
                        models.Q(("cost_source", "missing"), _negated=True),
                        ("cost_microdollars__gte", 0),
                    ),
                    _connector="OR",
                ),
                name="langbot_usage_cost",
            ),
        ),
    ]
