import collections, html.parser, re, json
import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.urls import reverse
from tests.langbot.admin_site_rows import populate
class T(html.parser.HTMLParser):
    def __init__(s): super().__init__(); s.skip=0; s.out=[]
    def handle_starttag(s,t,a):
        if t in("script","style","pre"): s.skip+=1
        for k,v in a:
            if k in("placeholder","title","aria-label") and v: s.out.append(v)
    def handle_endtag(s,t):
        if t in("script","style","pre"): s.skip-=1
    def handle_data(s,d):
        if not s.skip and d.strip(): s.out.append(" ".join(d.split()))
@pytest.mark.django_db
def test_scan(client):
    populate()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    seen=collections.defaultdict(set)
    for model in admin.site._registry:
        m=model._meta
        b=f"admin:{m.app_label}_{m.model_name}_"
        urls=[reverse(b+"changelist"),reverse(b+"add")]+[reverse(b+"change",args=[r.pk]) for r in list(model._default_manager.all())[:2]]
        for u in [reverse("admin:index")]+urls:
            r=client.get(u,HTTP_ACCEPT_LANGUAGE="zh-hans")
            if r.status_code!=200: continue
            p=T(); p.feed(r.content.decode())
            for t in p.out:
                if re.search("[a-zA-Z]{3}",t) and not re.search("[\u4e00-\u9fff]",t): seen[t].add(m.label)
    json.dump({k:sorted(v)[:4] for k,v in seen.items()},open("/tmp/h11/seen.json","w"))
