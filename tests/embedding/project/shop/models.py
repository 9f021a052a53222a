from uuid import uuid4

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class CustomerManager(BaseUserManager["Customer"]):
    def create_superuser(self, email, password):
        customer = self.model(email=email, is_staff=True, is_superuser=True)
        customer.set_password(password)
        customer.save()
        return customer


class Customer(AbstractBaseUser, PermissionsMixin):
    """Known by an e-mail address; the admin does not show them."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = CustomerManager()
    USERNAME_FIELD = "email"


class FinishedRun(models.Model):
    """What the receiver of a signal wrote down."""

    run_id = models.UUIDField(unique=True)
    status = models.CharField(max_length=20)

    def __str__(self):
        return f"{self.run_id} {self.status}"
