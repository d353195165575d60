import { sql } from "kysely";
import type { Db } from "../client.js";

/** Something a source sent that became no event. The payload is redacted and stored as it is given. */
export interface NewQuarantined {
  accountId: string;
  /** 128 bits of the content as a UUID. */
  payloadHash: string;
  source: string;
  reason: string;
  kind: string;
  channelId: string | undefined;
  /** JSON text. */
  payload: string;
}

const ROWS_PER_STATEMENT = 1_000;

/** Keeps items; one that is known already is counted once more. Committed when it resolves, in slices. */
export async function quarantine(db: Db, items: readonly NewQuarantined[], now: Date): Promise<void> {
  const rows = counted(items);
  for (let start = 0; start < rows.length; start += ROWS_PER_STATEMENT)
    await upsert(db, rows.slice(start, start + ROWS_PER_STATEMENT), now);
}

/** One upsert cannot touch a row twice, and equal order keeps concurrent ones from a deadlock. */
function counted(items: readonly NewQuarantined[]): (NewQuarantined & { times: number })[] {
  const rows = new Map<string, NewQuarantined & { times: number }>();
  for (const item of items) {
    const key = `${item.payloadHash} ${item.accountId}`;
    const row = rows.get(key);
    if (row) row.times += 1;
    else rows.set(key, { ...item, times: 1 });
  }
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

async function upsert(
  db: Db,
  rows: readonly (NewQuarantined & { times: number })[],
  now: Date,
): Promise<void> {
  await db
    .insertInto("quarantined_events")
    .values(
      rows.map((row) => ({
        account_id: row.accountId,
        payload_hash: row.payloadHash,
        source: row.source,
        reason: row.reason,
        kind: row.kind,
        channel_id: row.channelId ?? null,
        payload: row.payload,
        times: row.times,
        first_seen_at: now,
        last_seen_at: now,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(["account_id", "payload_hash"]).doUpdateSet({
        times: sql`quarantined_events.times + excluded.times`,
        last_seen_at: sql`greatest(quarantined_events.last_seen_at, excluded.last_seen_at)`,
      }),
    )
    .execute();
}
