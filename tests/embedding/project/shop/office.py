from django.contrib.admin import AdminSite


class OfficeSite(AdminSite):
    site_header = "The shop's office"
