"""A runner's config schema: what is filled, what is refused, what the form holds."""

from typing import Any

import pytest
from django import forms
from django.core.exceptions import ValidationError

from agents.config_secrets import seal_config
from agents.registry.config_schema import (
    form_fields,
    read_schema,
    selected_bases,
    selected_models,
    validate_config,
)
from agents.resources.models import Model, ModelProvider
from tests.support.posted import posted

SCHEMA: list[dict[str, Any]] = [
    {"name": "model", "type": "model-fallback-selector", "required": True},
    {
        "name": "prompt",
        "type": "prompt-editor",
        "default": [{"role": "system", "content": "Be kind."}],
    },
    {"name": "api-key", "type": "secret", "required": True},
    {"name": "title", "type": "string", "default": "none"},
    {"name": "notes", "type": "text"},
    {"name": "limit", "type": "integer", "default": 50},
    {"name": "heat", "type": "number"},
    {"name": "stream", "type": "boolean", "default": True},
    {
        "name": "auth",
        "type": "select",
        "default": "none",
        "options": [
            {"name": "none", "label": {"en_US": "None", "zh_Hans": "无"}},
            {"name": "basic", "label": {"en_US": "Basic", "zh_Hans": "基本"}},
        ],
    },
    {
        "name": "user",
        "type": "string",
        "required": True,
        "show_if": {"field": "auth", "operator": "eq", "value": "basic"},
    },
    {"name": "hosts", "type": "array"},
    {"name": "extra", "type": "json"},
    {"name": "ranker", "type": "rerank-model-selector"},
    {"name": "bases", "type": "knowledge-base-multi-selector"},
    {"name": "odd", "type": "a-type-from-the-future"},
]
ENOUGH = {"model": {"primary": "m1", "fallbacks": []}, "api-key": "s3cret"}


def problems(config, schema=SCHEMA):
    with pytest.raises(ValidationError) as caught:
        validate_config(schema, config)
    return caught.value.message_dict


def test_defaults_are_filled_and_unset_settings_left_out():
    assert validate_config(SCHEMA, ENOUGH) == {
        **ENOUGH,
        "prompt": [{"role": "system", "content": "Be kind."}],
        "title": "none",
        "limit": 50,
        "stream": True,
        "auth": "none",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", 3),
        ("notes", ["a"]),
        ("api-key", 5),
        ("limit", "50"),
        ("limit", 1.5),
        ("limit", True),
        ("heat", float("nan")),
        ("heat", "warm"),
        ("stream", "yes"),
        ("auth", "digest"),
        ("hosts", "a,b"),
        ("prompt", [{"role": "system"}]),
        ("prompt", {"role": "system", "content": "x"}),
        ("model", ["m1"]),
        ("model", {"primary": "m1", "fallbacks": "m2"}),
        ("ranker", ["r"]),
        ("bases", [1]),
        ("unknown", 1),
        ("title", {"$secret": "forged"}),
        ("api-key", {"$secret": "forged"}),
    ],
)
def test_wrong_value_gets_one_message_under_its_name(name, value):
    found = problems({**ENOUGH, name: value})
    assert list(found) == [name]
    assert len(found[name]) == 1


def test_every_problem_is_reported_at_once():
    assert problems({"limit": "x", "surplus": 1}).keys() == {
        "model",
        "api-key",
        "limit",
        "surplus",
    }


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"limit": 5.0}, {"limit": 5}),
        ({"heat": 2}, {"heat": 2}),
        ({"model": "m1"}, {"model": {"primary": "m1", "fallbacks": []}}),
        (
            {"model": {"primary": "m1", "fallbacks": ["m2"], "reasoning": "low"}},
            {"model": {"primary": "m1", "fallbacks": ["m2"], "reasoning": "low"}},
        ),
        ({"prompt": "Hi"}, {"prompt": [{"role": "system", "content": "Hi"}]}),
        ({"odd": {"any": [1]}}, {"odd": {"any": [1]}}),
        ({"extra": 0}, {"extra": 0}),
    ],
)
def test_values_are_normalised(given, stored):
    result = validate_config(SCHEMA, {**ENOUGH, **given})
    assert {name: result[name] for name in stored} == stored


def test_hidden_field_is_required_only_when_shown():
    assert "user" not in validate_config(SCHEMA, {**ENOUGH, "auth": "none"})
    assert problems({**ENOUGH, "auth": "basic"}).keys() == {"user"}


def test_sealed_secret_is_accepted_for_secrets_only():
    sealed = seal_config({"api-key": "s3cret"}, {"api-key"})
    assert validate_config(SCHEMA, {**ENOUGH, **sealed})["api-key"] == sealed["api-key"]
    assert problems({**ENOUGH, "extra": sealed["api-key"]}).keys() == {"extra"}


def test_oversize_configuration_is_refused():
    assert problems({**ENOUGH, "notes": "x" * 300_000}).keys() == {"__all__"}


@pytest.mark.parametrize(
    "schema", [None, {}, [None], [{}], [{"name": ""}], ["text"], [[]]]
)
def test_malformed_schema_means_no_settings(schema):
    assert validate_config(schema, {}) == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "type": 5, "label": 3, "options": "abc", "show_if": "no"},
        {"name": "x", "type": "select", "options": [None, 3, {"label": {}}]},
        {"name": "x", "type": "select", "options": {"a": 1}, "required": "yes"},
        {"name": "x", "type": "prompt-editor", "default": [{"role": 5}]},
        {"name": "x", "type": "model-fallback-selector", "default": ["m"]},
        {"name": "x", "type": "array", "default": "text"},
        {"name": "x", "type": "select", "allow_custom": True, "options": ["<", {}]},
        {"name": "x", "type": "integer", "default": "many"},
        {"name": "x", "show_if": {"field": ["a"], "operator": {}, "value": []}},
    ],
)
@pytest.mark.django_db
def test_malformed_entry_still_gets_a_field_that_renders(entry):
    form = forms.Form()
    form.fields.update(form_fields([entry], "en"))
    assert 'name="x' in form.as_div()


@pytest.mark.django_db
def test_labels_follow_the_language_and_escape_a_strangers_markup():
    entry = {
        "name": "x",
        "label": {"en_US": "Name <b>", "zh_Hans": "名称"},
        "description": {"en_US": "<script>alert(1)</script>"},
    }
    form = forms.Form()
    form.fields.update(form_fields([entry], "en-us"))
    page = form.as_div()
    assert "Name &lt;b&gt;" in page
    assert "<script>" not in page
    assert form_fields([entry], "zh-hans")["x"].label == "名称"
    assert form_fields([entry], "zh_Hans")["x"].label == "名称"
    assert form_fields([entry], "de")["x"].label == "Name <b>"


@pytest.fixture
def models(workspace):
    provider = ModelProvider.objects.create(workspace=workspace, name="Here")
    return [
        str(Model.objects.create(provider=provider, name=f"m{number}").public_id)
        for number in range(3)
    ]


def test_form_round_trip_changes_nothing(models):
    config = {
        "model": {"primary": models[0], "fallbacks": [models[2], models[1]]},
        "prompt": [
            {"role": "system", "content": "Be kind.\nAlways."},
            {"role": "user", "content": "Hi <&>"},
            {"role": "assistant", "content": " Hello "},
        ],
        "api-key": "[redacted]",
        "title": "A title",
        "notes": "two\nlines",
        "limit": 7,
        "heat": 0.5,
        "stream": False,
        "auth": "basic",
        "user": "ada",
        "hosts": ["a", "b"],
        "extra": {"k": [1, None, "é"]},
        "bases": ["b1"],
        "odd": {"future": True},
    }
    stored = {**config, "api-key": {"$secret": "token"}}
    empty = forms.Form()
    empty.fields.update(form_fields(SCHEMA, "en", values=stored))
    page = empty.as_div()
    assert "token" not in page
    form = forms.Form(posted(page))
    form.fields.update(form_fields(SCHEMA, "en", values=stored))
    assert form.is_valid(), form.errors
    kept = {k: v for k, v in form.cleaned_data.items() if v not in (None, "")}
    assert kept == config


def test_array_of_objects_is_edited_as_json():
    field = form_fields(
        [{"name": "x", "type": "array"}], "en", values={"x": [{"a": 1}]}
    )["x"]
    assert field.clean('[{"a": 2}]') == [{"a": 2}]


def test_deleted_model_stays_selectable(models):
    values = {"model": {"primary": "gone", "fallbacks": []}}
    field = form_fields(SCHEMA, "en", values=values)["model"]
    assert field.clean(["gone", models[0], "", models[0]]) == {
        "primary": "gone",
        "fallbacks": [models[0]],
    }


def test_model_selector_offers_the_models_of_the_workspace(models, workspace):
    from tests.factories import WorkspaceFactory

    other = ModelProvider.objects.create(
        workspace=WorkspaceFactory.create(), name="There"
    )
    theirs = Model.objects.create(provider=other, name="theirs")
    field = form_fields(SCHEMA, "en", workspace=workspace)["model"]
    with pytest.raises(ValidationError):
        field.clean([str(theirs.public_id), "", "", ""])
    assert field.clean([models[0], "", "", ""])["primary"] == models[0]


def test_selectors_go_by_their_older_names_and_words():
    """LB-49: names of types, and how an empty selector was spelled."""
    schema: list[dict[str, Any]] = [
        {"name": "model", "type": "select-llm-model", "required": True},
        {"name": "bases", "type": "select-knowledge-bases"},
    ]
    types = [item.type for item in read_schema(schema)]
    assert types == ["llm-model-selector", "knowledge-base-multi-selector"]
    assert list(selected_models(schema, {"model": "m1"})) == ["m1"]
    assert list(selected_models(schema, {"model": "__none__"})) == []
    assert selected_bases(schema, {"bases": ["kb"]}) == ["kb"]
    chain = {"primary": "__none__", "fallbacks": ["m2", "__none__"]}
    assert list(selected_models(SCHEMA, {"model": chain})) == ["m2"]
    for empty in ("__none__", "", {"primary": "__none__", "fallbacks": []}):
        assert set(problems({"model": empty}, schema)) == {"model"}
