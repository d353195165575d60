import type { Pool } from "pg";

/** What an account's quarters hold; bins stand in a row in no order, here they are ordered. */
export async function rollupRows(pool: Pool, accountId: string): Promise<object[]> {
  const { rows } = await pool.query<{ row: object }>(
    `select to_jsonb(r) - 'account_id' - 'counts' || to_jsonb(d) - 'account_id' || jsonb_build_object('bins', (
       select jsonb_object_agg(bin, n) from unnest(r.bins, r.counts) as held(bin, n)
     )) as row
     from rollups r join dimension_sets d using (account_id, dimensions_id)
     where r.account_id = $1 and d.grouping = 127 order by r.bucket, r.dimensions_id`,
    [accountId],
  );
  return rows.map(({ row }) => row);
}
