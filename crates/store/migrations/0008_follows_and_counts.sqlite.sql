-- Environments that never named a region of their own follow the region of their tenant. Which of the existing ones do is
-- not recorded: those in the region of their tenant do. A process of an earlier release writes the region in effect and
-- does not know this column, so that its environments count as having a region of their own.
ALTER TABLE environments ADD COLUMN region_given integer NOT NULL DEFAULT 1;
UPDATE environments SET region_given = 0
WHERE region = (SELECT t.region FROM tenants t WHERE t.tenant_id = environments.tenant_id);

-- A tenant without a quota of its own counts the sum of its environments, up to the maximum value of a quota. The usage of
-- the organizations did not contain these sums. Which names and values count: core, quotas.rs.
INSERT INTO organization_usage (organization_id, serial, tenants, quotas)
WITH of_tenant AS (
    SELECT t.organization_id, t.tenant_id, q.key AS name, min(sum(q.atom), 1099511627776) AS counted
    FROM environments e JOIN tenants t ON t.tenant_id = e.tenant_id JOIN json_each(e.quotas) q
    WHERE q.type = 'integer' AND q.atom BETWEEN 0 AND 1099511627776
      AND length(CAST(q.key AS blob)) BETWEEN 1 AND 64
      AND q.key NOT GLOB '*[' || char(1) || '-' || char(32) || char(127) || '-' || char(160) || char(5760) || char(8192)
          || '-' || char(8202) || char(8232) || char(8233) || char(8239) || char(8287) || char(12288) || ']*'
      AND NOT EXISTS (SELECT 1 FROM json_each(t.quotas) own
                      WHERE own.key = q.key AND own.type = 'integer' AND own.atom BETWEEN 0 AND 1099511627776)
    GROUP BY t.organization_id, t.tenant_id, q.key
), newest AS (
    SELECT organization_id, max(serial) AS serial, tenants, quotas FROM organization_usage
    WHERE organization_id IN (SELECT organization_id FROM of_tenant) GROUP BY organization_id
), merged AS (
    SELECT organization_id, name, sum(counted) AS counted FROM (
        SELECT organization_id, name, counted FROM of_tenant
        UNION ALL
        SELECT n.organization_id, q.key, q.atom FROM newest n JOIN json_each(n.quotas) q
    ) GROUP BY organization_id, name HAVING sum(counted) <> 0 ORDER BY organization_id, name
)
SELECT n.organization_id, n.serial + 1, n.tenants,
       (SELECT json_group_object(m.name, m.counted) FROM merged m WHERE m.organization_id = n.organization_id)
FROM newest n;
