import { createDownloadLink } from "../db/queries/download-links.js";
import type { Run } from "../db/queries/runs.js";
import { downloadUrl } from "../exports/artifacts/download-url.js";
import type { JobContext } from "./define-job.js";
import { runPaths } from "./present-run.js";

/** As long as such a link may live. */
const LINK_MS = 7 * 24 * 3_600_000;

/** Where a program gets a run's file: a path of the API, which asks for a key. Undefined: there is no file. */
export function downloadPath(run: Run): string | undefined {
  if (!run.file || run.file.removed) return undefined;
  return `${runPaths[run.kind]}/${run.run_id}/download`;
}

/**
 * Where people who read a mail get the file: a link of their own that ends with the file or after a week, and that can be
 * revoked. Where nobody knows how the service is reached from outside (`PUBLIC_URL`) it is the path of the API.
 */
export async function linkForPeople(
  run: Run,
  requestedBy: string,
  { db, now, settings }: Pick<JobContext, "db" | "now" | "settings">,
): Promise<{ link: string; until: Date } | undefined> {
  const path = downloadPath(run);
  if (path === undefined) return undefined;
  const fileEnds = new Date(run.file!.expires_at);
  if (settings.publicUrl === undefined) return { link: path, until: fileEnds };
  const made = await createDownloadLink(db, {
    ...{ accountId: run.account_id, runId: run.run_id, requestedBy },
    expiresAt: new Date(now().getTime() + LINK_MS),
  });
  return made && { link: downloadUrl(settings.publicUrl, made), until: made.expiresAt };
}
