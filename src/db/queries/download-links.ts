import { createHash, randomBytes } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import { isBehind, type NewestFirst } from "../newest-first.js";
import type { Artifact, Database, RunKind } from "../schema.js";
import { hasFile } from "./artifacts.js";

export type DownloadLink = Selectable<Database["download_links"]>;
export type DownloadUse = Selectable<Database["download_uses"]>;
/** Names a link; every statement goes to its account. */
export type LinkKey = Pick<DownloadLink, "account_id" | "link_id">;

const SECRET_BYTES = 32;
/** Uses of one link that are listed one by one; the others are only counted. */
const MAX_LISTED_USES = 1_000;
/** How long after a download more of the same file is given out, to whoever goes on with one that broke off. */
const CONTINUE_MS = 3_600_000;

export const hashLinkSecret = (secret: string): Buffer => createHash("sha256").update(secret).digest();

/**
 * A link to the file of a run that has one; undefined where it has none. It ends with the file, if that is earlier than
 * asked for. `secret` is what makes the link open: it is in no table, so this is the only time to give it out.
 */
export async function createDownloadLink(
  db: Db,
  link: {
    accountId: string;
    runId: string;
    requestedBy: string;
    expiresAt: Date;
    maxDownloads?: number | undefined;
  },
): Promise<{ row: DownloadLink; linkId: string; secret: string; expiresAt: Date } | undefined> {
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  const { rows } = await sql<DownloadLink>`
    insert into download_links
      (account_id, run_id, secret_hash, requested_by, created_at, expires_at, max_downloads)
    select account_id, run_id, ${hashLinkSecret(secret)}, ${link.requestedBy}, date_trunc('milliseconds', now()),
           least(${link.expiresAt}, file_expires_at::timestamptz), ${link.maxDownloads ?? null}::integer
    from runs
    where account_id = ${link.accountId} and run_id = ${link.runId}
      and status = 'succeeded' and ${hasFile}
    returning *`.execute(db);
  const row = rows[0];
  return row && { row, linkId: row.link_id, secret, expiresAt: row.expires_at };
}

export type FollowedLink = DownloadLink & { kind: RunKind; artifact: Artifact | null };

/** A link by what its URL says, with the file that it leads to. */
export async function findDownloadLink(db: Db, linkId: string): Promise<FollowedLink | undefined> {
  return db
    .selectFrom("download_links")
    .innerJoin("runs", (join) =>
      join
        .onRef("runs.account_id", "=", "download_links.account_id")
        .onRef("runs.run_id", "=", "download_links.run_id"),
    )
    .selectAll("download_links")
    .select(["runs.kind", "runs.artifact"])
    .where("download_links.link_id", "=", linkId)
    .executeTakeFirst();
}

/** Whether somebody may look at the file, or go on with a download that was counted. */
export const hasDownloadsLeft = (link: DownloadLink, now: Date): boolean =>
  link.max_downloads === null ||
  link.downloads < link.max_downloads ||
  (link.last_download_at !== null && now.getTime() - link.last_download_at.getTime() < CONTINUE_MS);

/** Counts one download, unless the link has none left or ended in the meantime: of the last one, two cannot both be told. */
export async function takeDownload(db: Db, link: LinkKey, now: Date): Promise<boolean> {
  const result = await db
    .updateTable("download_links")
    .set((eb) => ({ downloads: eb("downloads", "+", 1), last_download_at: now }))
    .where("account_id", "=", link.account_id)
    .where("link_id", "=", link.link_id)
    .where("revoked_at", "is", null)
    .where("expires_at", ">", now)
    .where(sql<boolean>`(max_downloads is null or downloads < max_downloads)`)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** For a download that broke off: nobody has the file. */
export async function returnDownload(db: Db, link: LinkKey): Promise<void> {
  await db
    .updateTable("download_links")
    .set((eb) => ({ downloads: eb("downloads", "-", 1) }))
    .where("account_id", "=", link.account_id)
    .where("link_id", "=", link.link_id)
    .where("downloads", ">", 0)
    .execute();
}

/** Writes down who asked for what and what became of it. */
export async function recordUse(
  db: Db,
  link: LinkKey,
  use: Omit<DownloadUse, "account_id" | "link_id" | "use_id">,
): Promise<void> {
  await sql`
    with counted as (
      update download_links set uses = uses + 1
      where account_id = ${link.account_id} and link_id = ${link.link_id}
      returning account_id, link_id, uses
    )
    insert into download_uses
      (account_id, link_id, used_at, client_address, user_agent, method, range_start, range_end, outcome)
    select account_id, link_id, ${use.used_at}::timestamptz, ${use.client_address}, ${use.user_agent}::text,
           ${use.method}, ${use.range_start}::bigint, ${use.range_end}::bigint, ${use.outcome}
    from counted where uses <= ${MAX_LISTED_USES}`.execute(db);
}

/** Those of a run, the newest first. */
export async function listDownloadLinks(
  db: Db,
  run: { accountId: string; runId: string },
  page: NewestFirst,
): Promise<DownloadLink[]> {
  let query = db
    .selectFrom("download_links")
    .selectAll()
    .where("account_id", "=", run.accountId)
    .where("run_id", "=", run.runId);
  if (page.before) query = query.where(isBehind(page.before, "link_id"));
  return query.orderBy("created_at", "desc").orderBy("link_id", "desc").limit(page.limit).execute();
}

/** Ends a link of a run at once. A second time changes nothing; undefined when there is no such link. */
export async function revokeDownloadLink(
  db: Db,
  link: { accountId: string; runId: string; linkId: string },
  now: Date,
): Promise<DownloadLink | undefined> {
  return db
    .updateTable("download_links")
    .set({ revoked_at: sql<Date>`coalesce(revoked_at, ${now}::timestamptz)` })
    .where("account_id", "=", link.accountId)
    .where("link_id", "=", link.linkId)
    .where("run_id", "=", link.runId)
    .returningAll()
    .executeTakeFirst();
}

/** The uses of a link, in their order; undefined when the run has no such link. */
export async function listDownloadUses(
  db: Db,
  link: { accountId: string; runId: string; linkId: string },
  page: { after: number; limit: number },
): Promise<DownloadUse[] | undefined> {
  const found = await db
    .selectFrom("download_links")
    .select("link_id")
    .where("account_id", "=", link.accountId)
    .where("link_id", "=", link.linkId)
    .where("run_id", "=", link.runId)
    .executeTakeFirst();
  if (!found) return undefined;
  return db
    .selectFrom("download_uses")
    .selectAll()
    .where("account_id", "=", link.accountId)
    .where("link_id", "=", link.linkId)
    .where("use_id", ">", page.after)
    .orderBy("use_id")
    .limit(page.limit)
    .execute();
}

/** Forgets links that ended before `before`, with their uses; `limit` of them at most. Returns how many. */
export async function deleteEndedLinks(db: Db, before: Date, limit: number): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with ended as (
      select account_id, link_id from download_links
      where expires_at < ${before} order by expires_at limit ${limit}
    ), uses as (
      delete from download_uses u using ended e where u.account_id = e.account_id and u.link_id = e.link_id
    ), gone as (
      delete from download_links l using ended e
      where l.account_id = e.account_id and l.link_id = e.link_id
      returning 1
    )
    select count(*) as count from gone`.execute(db);
  return rows[0]!.count;
}
