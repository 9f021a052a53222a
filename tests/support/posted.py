"""What a browser would send back for a form of a page."""

import re
from html import unescape

from django.http import QueryDict


def attribute(tag, name):
    found = re.search(rf'\s{name}="([^"]*)"', tag)
    return unescape(found[1]) if found else ""


def posted(form_page):
    """Read back what a browser would send for a rendered form."""
    data = QueryDict(mutable=True)
    for tag in re.findall(r"<input[^>]*>", form_page):
        if 'type="checkbox"' not in tag:
            data.appendlist(attribute(tag, "name"), attribute(tag, "value"))
        elif re.search(r"\schecked(?=[\s=/>])", tag):  # no class of the theme
            value = attribute(tag, "value") if " value=" in tag else "on"
            data.appendlist(attribute(tag, "name"), value)
    for tag, body in re.findall(
        r"(<textarea[^>]*>)\n?(.*?)</textarea>", form_page, re.DOTALL
    ):
        data.appendlist(attribute(tag, "name"), unescape(body))
    for tag, body in re.findall(r"(<select[^>]*>)(.*?)</select>", form_page, re.DOTALL):
        options = re.findall(r"<option[^>]*>", body)
        chosen = [option for option in options if " selected" in option] or options[:1]
        data.appendlist(attribute(tag, "name"), attribute("".join(chosen), "value"))
    return data
