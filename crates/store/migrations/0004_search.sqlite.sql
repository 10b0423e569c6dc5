-- What lists are searched by, each reached by an index. The program writes the texts: how a database changes case depends on
-- its locale. Rows of an earlier release have NULL until the next migration fills them.
ALTER TABLE tenants ADD COLUMN search_name text;
CREATE INDEX tenants_search_name ON tenants (search_name, tenant_id) WHERE search_name IS NOT NULL;
ALTER TABLE organizations ADD COLUMN search_name text;
CREATE INDEX organizations_search_name ON organizations (search_name, organization_id) WHERE search_name IS NOT NULL;
ALTER TABLE aliases ADD COLUMN search_value text;
CREATE INDEX aliases_search_value ON aliases (search_value, tenant_id) WHERE search_value IS NOT NULL;

-- The labels of tenants once more, one row each. Like versions of tenants without a foreign key: they are written only in a
-- commit that makes or locks the tenant's row.
CREATE TABLE tenant_labels (
    tenant_id text NOT NULL CHECK (length(tenant_id) <= 64),
    label_key text NOT NULL CHECK (length(label_key) <= 64),
    label_value text NOT NULL CHECK (length(label_value) <= 255),
    PRIMARY KEY (tenant_id, label_key)
) STRICT;
CREATE INDEX tenant_labels_label ON tenant_labels (label_key, label_value, tenant_id);
