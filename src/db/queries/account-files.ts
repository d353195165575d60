import { sql } from "kysely";
import type { Db } from "../client.js";
import type { FileChoices } from "../schema.js";
import { hasFile, nowText } from "./artifacts.js";

/** For accounts that have set neither. */
export interface FileDefaults {
  retentionMs: number;
  /** Of all files together; 0: any number. */
  quotaBytes: number;
}

/** What an account's files may take, and what they take. */
export interface FileAllowance extends FileDefaults {
  usedBytes: number;
}

const HOUR_MS = 3_600_000;

/**
 * What an account may still store. Counts the files that can be downloaded at this moment, from the partial index of one
 * account's files alone: 100,000 of them take some 15 ms.
 */
export async function fileAllowance(
  db: Db,
  accountId: string,
  defaults: FileDefaults,
): Promise<FileAllowance | undefined> {
  const { rows } = await sql<{ files: FileChoices; used_bytes: number }>`
    select a.files,
           (select coalesce(sum(file_bytes), 0)::bigint
            from runs where account_id = a.account_id and ${hasFile} and file_expires_at > ${nowText}) as used_bytes
    from accounts a where a.account_id = ${accountId}`.execute(db);
  const row = rows[0];
  if (!row) return undefined;
  const { retention_hours: hours, quota_bytes: quotaBytes = defaults.quotaBytes } = row.files;
  const retentionMs = hours === undefined ? defaults.retentionMs : hours * HOUR_MS;
  return { retentionMs, quotaBytes, usedBytes: row.used_bytes };
}

/** Merges what is given into what an account has set; null takes back what was set. */
export async function changeFiles(
  db: Db,
  accountId: string,
  changes: { [Name in keyof FileChoices]?: FileChoices[Name] | null | undefined },
): Promise<void> {
  await sql`
    update accounts set files = jsonb_strip_nulls(files || ${JSON.stringify(changes)}::jsonb)
    where account_id = ${accountId}`.execute(db);
}
