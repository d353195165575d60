import { findBuiltIn } from "../analytics/report-templates/built-in.js";
import type { Db } from "../db/client.js";
import { lastVersions } from "../db/queries/report-templates.js";
import type { Schedule } from "../db/queries/schedules.js";

/**
 * Schedules as runs are made of them now: a custom template with the version that is its last, so that a run gives the same
 * file whenever and however often it is built. One that is gone stays without, and the run says so. One statement for all.
 */
export async function pinTemplates(db: Db, schedules: readonly Schedule[]): Promise<Schedule[]> {
  const named = schedules.map((schedule) => ({
    accountId: schedule.account_id,
    name: unpinnedTemplate(schedule),
  }));
  const versions = await lastVersions(db, named);
  return schedules.map((schedule, index) => {
    const version = versions[index];
    return version ? { ...schedule, request: { ...schedule.request, template_version: version } } : schedule;
  });
}

/** Null where there is nothing to pin: an export, a built-in template, a version that the request names. */
function unpinnedTemplate({ kind, request }: Schedule): string | null {
  const { template, template_version: version } = request;
  if (kind !== "report" || version !== undefined || typeof template !== "string") return null;
  return findBuiltIn(template) ? null : template;
}
