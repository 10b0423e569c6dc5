// A program that uses the types which openapi-typescript generates.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Tenant = components["schemas"]["Tenant"];
type Problem = components["schemas"]["Problem"];

const url = process.env["TENANCY_URL"] ?? "";
const client = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${process.env["TENANCY_KEY"] ?? ""}` },
});

function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

const manifest: components["schemas"]["TenantManifest"] = {
  tenant_id: "acme-ts",
  organization_id: "acme",
  profile: "mt-standard",
  region: "eu-west-1",
  labels: { tier: "gold" },
  policies: { dataResidency: "in-region-only", retentionDays: 30 },
  environments: [{ name: "dev", isolation_level: "strict" }],
};
const created = await client.POST("/v1/tenants", { body: manifest });
must(created.response.status === 201 && created.data?.state === "Draft", JSON.stringify(created.error));

const path = { tenant_id: "acme-ts" };
const read = await client.GET("/v1/tenants/{tenant_id}", { params: { path } });
must(read.data !== undefined, "a tenant");
const tenant: Tenant = read.data;
const patched = await client.PATCH("/v1/tenants/{tenant_id}", {
  params: { path, header: { "If-Match": read.response.headers.get("etag") ?? "" } },
  body: { display_name: "Acme", labels: { tier: null } },
  headers: { "Content-Type": "application/merge-patch+json" },
});
must(patched.data?.version === tenant.version + 1, JSON.stringify(patched.error));

const suspended = await client.POST("/v1/tenants/{tenant_id}/suspend", { params: { path } });
must(suspended.data?.tenant.holds[0]?.hold === "operator", JSON.stringify(suspended.error));

const list = await client.GET("/v1/tenants", { params: { query: { state: ["Draft"], limit: 10 } } });
must(list.data !== undefined && list.data.items.every((row) => row.state === "Draft"), "a list");

const missing = await client.GET("/v1/tenants/{tenant_id}", { params: { path: { tenant_id: "no-such-tenant" } } });
const problem: Problem | undefined = missing.error;
must(problem?.code === "not_found", "a problem with a code");
console.log(`TypeScript: ${tenant.tenant_id} at version ${patched.data.version}, ${problem.detail}`);
