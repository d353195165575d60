import { type FileAllowance, fileAllowance } from "../db/queries/account-files.js";
import { PermanentJobError } from "../errors.js";
import type { JobContext } from "./define-job.js";

/** What an account may still store, and for how long. */
export async function roomFor({ db, settings }: JobContext, accountId: string): Promise<FileAllowance> {
  const defaults = { retentionMs: settings.artifactRetentionMs, quotaBytes: settings.artifactQuotaBytes };
  return (await fileAllowance(db, accountId, defaults)) ?? { ...defaults, usedBytes: 0 };
}

/** Whether a file of so many bytes is within the quota, beside those that there are. */
export const fits = ({ quotaBytes, usedBytes }: FileAllowance, bytes: number): boolean =>
  quotaBytes === 0 || usedBytes + bytes <= quotaBytes;

export const quotaExceeded = ({ quotaBytes, usedBytes }: FileAllowance) =>
  new PermanentJobError(
    "quota_exceeded",
    `With this file, the account's files would take more than the ${quotaBytes} bytes that they may; ${usedBytes} are used.`,
  );

export const isQuotaExceeded = (error: unknown): boolean =>
  error instanceof PermanentJobError && error.code === "quota_exceeded";

/** Of a file that is complete: those that other runs have finished in the meantime count as well. */
export async function requireRoom(
  context: JobContext,
  accountId: string,
  bytes: number,
): Promise<FileAllowance> {
  const room = await roomFor(context, accountId);
  if (!fits(room, bytes)) throw quotaExceeded(room);
  return room;
}
