import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import type { KeyRange } from "../datasets/dataset.js";
import type { Database } from "../schema.js";
import type { Claim } from "./runs.js";

export type ExportPart = Selectable<Database["export_parts"]>;

/** The export whose parts are meant. */
export interface PartsKey {
  accountId: string;
  runId: string;
}

/** What a worker holds while it builds one part. */
export interface PartClaim extends PartsKey {
  part: number;
  fence: number;
}

/** A worker that is silent for so long has lost its part. Longer than a few heartbeats. */
const SILENT_MS = 10_000;

/** No claim of an earlier layout, and so no file of one, has the number of a later one's. */
const FENCES_PER_LAYOUT = 1_000_000;

export interface PlannedPart {
  /** Numbered from 0. */
  part: number;
  layout: string;
  range: KeyRange;
  nextCursor?: string | undefined;
}

/** Forgets all parts of an export. False when somebody else has the run: the parts are theirs. */
export async function removeParts(db: Db, claim: Claim): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await heldRun(claim).execute(trx);
    if (rows.length === 0) return false;
    await trx
      .deleteFrom("export_parts")
      .where("account_id", "=", claim.accountId)
      .where("run_id", "=", claim.runId)
      .execute();
    return true;
  });
}

/** Writes down the next part of an export; one without an end is the last. False when somebody else has the run. */
export async function addPart(
  db: Db,
  claim: Claim,
  { part, layout, range, nextCursor }: PlannedPart,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    with held as (${heldRun(claim)})
    insert into export_parts (account_id, run_id, part, layout, fence, from_key, to_key, next_cursor)
    select ${claim.accountId}, ${claim.runId}, ${part}::integer, ${layout}, ${claim.fence * FENCES_PER_LAYOUT}::bigint,
           ${range.from ?? null}::text[], ${range.to ?? null}::text[], ${nextCursor ?? null}
    from held`.execute(db);
  return numAffectedRows === 1n;
}

/** The run, if this claim still holds; nobody else claims it until the end of the transaction. */
const heldRun = ({ accountId, runId, fence }: Claim) => sql`
  select from runs where account_id = ${accountId} and run_id = ${runId} and fence = ${fence} for share`;

/** Whether parts of this layout are still being looked for, by a living worker that has the run under this fence. */
export async function areBeingPlanned(
  db: Db,
  { accountId, runId, runFence, layout }: PartsKey & { runFence: number; layout: string },
): Promise<boolean> {
  const { rows } = await sql`
    select from runs
    where account_id = ${accountId} and run_id = ${runId} and fence = ${runFence} and status = 'running'
      and heartbeat_at > now() - ${SILENT_MS} * interval '1 millisecond'
      and not exists (
        select from export_parts
        where account_id = ${accountId} and run_id = ${runId} and (to_key is null or layout <> ${layout})
      )`.execute(db);
  return rows.length > 0;
}

export async function readParts(db: Db, { accountId, runId }: PartsKey): Promise<ExportPart[]> {
  return db
    .selectFrom("export_parts")
    .selectAll()
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .orderBy("part")
    .execute();
}

/** The parts that are done from this one on, up to the first that is not, and so many at most. */
export async function readDoneParts(
  db: Db,
  { accountId, runId }: PartsKey,
  { from, limit }: { from: number; limit: number },
): Promise<ExportPart[]> {
  const { rows } = await sql<ExportPart>`
    select * from export_parts
    where account_id = ${accountId} and run_id = ${runId} and part >= ${from} and part < ${from + limit}
      and part < coalesce((
        select min(part) from export_parts
        where account_id = ${accountId} and run_id = ${runId} and part >= ${from} and part < ${from + limit}
          and done_at is null
      ), ${from + limit})
    order by part`.execute(db);
  return rows;
}

/**
 * Takes the next part of this layout that is not done and that no living worker holds; undefined without one, and when the
 * run is not in the hands of `runFence` any more.
 */
export async function claimPart(
  db: Db,
  { accountId, runId, runFence, layout }: PartsKey & { runFence: number; layout: string },
  worker: string,
): Promise<ExportPart | undefined> {
  const { rows } = await sql<ExportPart>`
    update export_parts set fence = fence + 1, worker = ${worker}, heartbeat_at = now(), rows = 0, bytes = 0
    where account_id = ${accountId} and run_id = ${runId} and part = (
      select part from export_parts
      where account_id = ${accountId} and run_id = ${runId} and layout = ${layout} and done_at is null
        and (heartbeat_at is null or heartbeat_at < now() - ${SILENT_MS} * interval '1 millisecond')
      order by part limit 1 for update skip locked
    ) and exists (
      select from runs
      where account_id = ${accountId} and run_id = ${runId} and fence = ${runFence}
        and status = 'running' and cancel_requested_at is null
    )
    returning *`.execute(db);
  return rows[0];
}

/** Says that the worker is alive. False when somebody else has the part, or the export needs it no more. */
export async function beatPart(
  db: Db,
  claim: PartClaim,
  { rows, bytes }: { rows: number; bytes: number },
): Promise<boolean> {
  const result = await sql`
    update export_parts p set heartbeat_at = now(), rows = ${rows}, bytes = ${bytes}
    where ${held(claim)} and exists (
      select from runs r where r.account_id = p.account_id and r.run_id = p.run_id
        and r.status = 'running' and r.cancel_requested_at is null
    )`.execute(db);
  return result.numAffectedRows === 1n;
}

const held = ({ accountId, runId, part, fence }: PartClaim) =>
  sql<boolean>`p.account_id = ${accountId} and p.run_id = ${runId} and p.part = ${part}
    and p.fence = ${fence} and p.done_at is null`;

/** The file of a part, as it was stored. */
export interface BuiltPart {
  key: string;
  rows: number;
  bytes: number;
  sha256: string;
  detail: unknown;
  snapshot: string | undefined;
  asOf: Date;
}

/** The one statement that makes a part done. False when the claim no longer holds: the file is the worker's to remove. */
export async function finishPart(db: Db, claim: PartClaim, built: BuiltPart): Promise<boolean> {
  const result = await sql`
    update export_parts p
    set done_at = now(), key = ${built.key}, rows = ${built.rows}, bytes = ${built.bytes}, sha256 = ${built.sha256},
        detail = ${JSON.stringify(built.detail)}::jsonb, snapshot = ${built.snapshot ?? null}, as_of = ${built.asOf},
        heartbeat_at = null
    where ${held(claim)}`.execute(db);
  return result.numAffectedRows === 1n;
}

/** Lets go of a part, so that the next worker can take it at once. */
export async function releasePart(db: Db, claim: PartClaim): Promise<void> {
  await sql`update export_parts p set heartbeat_at = null, rows = 0, bytes = 0 where ${held(claim)}`.execute(
    db,
  );
}

/** Of all parts, whoever builds them. */
export async function partsProgress(
  db: Db,
  { accountId, runId }: PartsKey,
): Promise<{ rows: number; bytes: number; open: number }> {
  const row = await db
    .selectFrom("export_parts")
    .select((eb) => [
      eb.fn.coalesce(eb.fn.sum<string>("rows"), sql<string>`0`).as("rows"),
      eb.fn.coalesce(eb.fn.sum<string>("bytes"), sql<string>`0`).as("bytes"),
      eb.fn.countAll<number>().filterWhere("done_at", "is", null).as("open"),
    ])
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .executeTakeFirstOrThrow();
  return { rows: Number(row.rows), bytes: Number(row.bytes), open: row.open };
}

/**
 * Forgets the parts of an export that has ended, under this fence if one is given, and says which files they had. One that
 * goes on again keeps them, as does one that failed less than `keepFailedMs` ago.
 */
export async function removeEndedParts(
  db: Db,
  { accountId, runId }: PartsKey,
  { fence, keepFailedMs = 0 }: { fence?: number | undefined; keepFailedMs?: number },
): Promise<string[]> {
  const { rows } = await sql<{ key: string | null }>`
    delete from export_parts p
    where p.account_id = ${accountId} and p.run_id = ${runId} and not exists (
      select from runs r
      where r.account_id = p.account_id and r.run_id = p.run_id and (
        r.fence <> coalesce(${fence ?? null}::bigint, r.fence)
        or r.status in ('queued', 'running')
        or r.status = 'failed' and r.finished_at > now() - ${keepFailedMs} * interval '1 millisecond'
      )
    )
    returning key`.execute(db);
  return rows.flatMap(({ key }) => key ?? []);
}

/** Has the parts built again whose files these are: they are not what was stored. */
export async function reopenParts(
  db: Db,
  { accountId, runId }: PartsKey,
  files: readonly string[],
): Promise<void> {
  await db
    .updateTable("export_parts")
    .set({ done_at: null, key: null, rows: 0, bytes: 0 })
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .where("key", "in", [...files])
    .execute();
}

/** Exports whose parts nobody needs any more: they have their file, were cancelled, or failed long enough ago. */
export async function leftOverParts(db: Db, keepFailedMs: number, limit: number): Promise<PartsKey[]> {
  const { rows } = await sql<PartsKey>`
    select distinct p.account_id as "accountId", p.run_id as "runId"
    from export_parts p left join runs r on r.account_id = p.account_id and r.run_id = p.run_id
    where r.run_id is null or r.status in ('succeeded', 'cancelled')
       or (r.status = 'failed' and r.finished_at < now() - ${keepFailedMs} * interval '1 millisecond')
    limit ${limit}`.execute(db);
  return rows;
}
