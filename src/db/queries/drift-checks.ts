import { sql } from "kysely";
import type { Db } from "../client.js";

/**
 * The account whose last check is longest ago, marked as checked now: one that takes too long must not keep others from
 * their turn, and two workers take different ones. Undefined when all were checked within `everyMs`.
 */
export async function nextToCheck(db: Db, everyMs: number): Promise<string | undefined> {
  const { rows } = await sql<{ account_id: string }>`
    update fold_watermarks set drift_checked_at = now()
    where account_id = (
      select account_id from fold_watermarks
      where drift_checked_at is null or drift_checked_at < now() - ${everyMs} * interval '1 millisecond'
      order by drift_checked_at nulls first
      limit 1
      for update skip locked
    )
    returning account_id`.execute(db);
  return rows[0]?.account_id;
}

export interface DriftCheck {
  account_id: string;
  last_checked_at: Date | null;
  late_after_retention: number;
}

/** The accounts whose check is longest ago. */
export async function oldestChecks(db: Db, limit: number): Promise<DriftCheck[]> {
  return db
    .selectFrom("fold_watermarks")
    .select(["account_id", "drift_checked_at as last_checked_at", "late_after_retention"])
    .orderBy(sql`drift_checked_at nulls first`)
    .limit(limit)
    .execute();
}
