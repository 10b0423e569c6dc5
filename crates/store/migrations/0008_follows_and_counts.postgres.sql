-- Usage and environments must not change between the reads and the writes below.
LOCK TABLE organizations IN EXCLUSIVE MODE;

-- Environments that never named a region of their own follow the region of their tenant. Which of the existing ones do is
-- not recorded: those in the region of their tenant do. A process of an earlier release writes the region in effect and
-- does not know this column, so that its environments count as having a region of their own.
ALTER TABLE environments ADD COLUMN region_given boolean NOT NULL DEFAULT true;
UPDATE environments e SET region_given = false
FROM tenants t WHERE t.tenant_id = e.tenant_id AND t.region = e.region;

-- A tenant without a quota of its own counts the sum of its environments, up to the maximum value of a quota. The usage of
-- the organizations did not contain these sums. Which names and values count: core, quotas.rs.
WITH of_environment AS (
    SELECT e.tenant_id, q.key AS name,
           CASE WHEN jsonb_typeof(q.value) = 'number' AND q.value #>> '{}' ~ '^[0-9]{1,13}$'
                THEN (q.value #>> '{}')::bigint END AS counted
    FROM environments e CROSS JOIN LATERAL jsonb_each(e.quotas) q
    WHERE octet_length(q.key) BETWEEN 1 AND 64
      AND q.key COLLATE "C" !~ U&'[\0001-\0020\007F-\00A0\1680\2000-\200A\2028\2029\202F\205F\3000]'
), of_tenant AS (
    SELECT t.organization_id, t.tenant_id, e.name, least(sum(e.counted), 1099511627776) AS counted
    FROM of_environment e JOIN tenants t ON t.tenant_id = e.tenant_id
    WHERE e.counted <= 1099511627776
      AND NOT coalesce(CASE WHEN jsonb_typeof(t.quotas -> e.name) = 'number' AND t.quotas ->> e.name ~ '^[0-9]{1,13}$'
                            THEN (t.quotas ->> e.name)::bigint <= 1099511627776 END, false)
    GROUP BY t.organization_id, t.tenant_id, e.name
), newest AS (
    SELECT DISTINCT ON (organization_id) organization_id, serial, tenants, quotas FROM organization_usage
    WHERE organization_id IN (SELECT organization_id FROM of_tenant) ORDER BY organization_id, serial DESC
), merged AS (
    SELECT organization_id, name, least(sum(counted), 9223372036854775807) AS counted FROM (
        SELECT organization_id, name, counted FROM of_tenant
        UNION ALL
        SELECT n.organization_id, q.key, (q.value #>> '{}')::numeric FROM newest n
        CROSS JOIN LATERAL jsonb_each(n.quotas::jsonb) q
    ) counts GROUP BY organization_id, name HAVING sum(counted) <> 0
)
INSERT INTO organization_usage (organization_id, serial, tenants, quotas)
SELECT n.organization_id, n.serial + 1, n.tenants,
       '{' || coalesce((SELECT string_agg(to_json(m.name)::text || ':' || m.counted::text, ',' ORDER BY m.name COLLATE "C")
                        FROM merged m WHERE m.organization_id = n.organization_id), '') || '}'
FROM newest n;
