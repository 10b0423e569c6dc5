"""A program that uses the client which openapi-python-client generates."""

import os

from tenancy_client import AuthenticatedClient
from tenancy_client.api.lifecycle import suspend_tenant
from tenancy_client.api.tenants import get_tenant, list_tenants, patch_tenant, register_tenant
from tenancy_client.models import (
    Accepted,
    EnvironmentManifest,
    IsolationLevel,
    Policies,
    Problem,
    ProblemCode,
    State,
    Tenant,
    TenantManifest,
    TenantPatch,
    TenantRowList,
    WrittenTenant,
)
from tenancy_client.models.data_residency import DataResidency

client = AuthenticatedClient(base_url=os.environ["TENANCY_URL"], token=os.environ["TENANCY_KEY"])
manifest = TenantManifest(
    tenant_id="acme-py",
    organization_id="acme",
    region="eu-west-1",
    policies=Policies(data_residency=DataResidency.IN_REGION_ONLY, retention_days=30),
    environments=[EnvironmentManifest(name="dev", isolation_level=IsolationLevel.STRICT)],
)
created = register_tenant.sync(client=client, body=manifest)
assert isinstance(created, WrittenTenant) and created.state is State.DRAFT, created

tenant = get_tenant.sync("acme-py", client=client)
assert isinstance(tenant, Tenant), tenant
patched = patch_tenant.sync(
    "acme-py", client=client, body=TenantPatch(display_name="Acme"), if_match=f'"{tenant.version}.{tenant.counter}"'
)
assert isinstance(patched, WrittenTenant) and patched.version == tenant.version + 1, patched

suspended = suspend_tenant.sync("acme-py", client=client)
assert isinstance(suspended, Accepted) and suspended.tenant.holds[0].hold == "operator", suspended

listed = list_tenants.sync(client=client, state=[State.DRAFT], limit=10)
assert isinstance(listed, TenantRowList) and all(row.state is State.DRAFT for row in listed.items), listed

missing = get_tenant.sync("no-such-tenant", client=client)
assert isinstance(missing, Problem) and missing.code is ProblemCode.NOT_FOUND, missing
print(f"Python: {tenant.tenant_id} at version {patched.version}, {missing.detail}")
