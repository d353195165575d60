import { type Kysely, sql } from "kysely";

const tables = ["", "conversation_"].flatMap((kind) => [
  ...[`${kind}rollups`, `daily_${kind}rollups`, `${kind}rollup_deltas`],
  ...[`${kind}rollups_frozen`, `daily_${kind}rollups_frozen`],
]);

/** Bins stand in ascending order from now on: a reader takes the range of one duration out of them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const table of tables)
    await sql
      .raw(`
update ${table} t set (bins, counts) = (
  select array_agg(bin order by bin), array_agg(n order by bin) from unnest(t.bins, t.counts) as held(bin, n)
) where cardinality(bins) > 1`)
      .execute(db);
}
