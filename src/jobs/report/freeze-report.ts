import { type MetricDimension, messageDimensions } from "../../analytics/catalog.js";
import type { QueriedAccount } from "../../analytics/metrics-query.js";
import { type ReportTemplate, rowsSection } from "../../analytics/report-templates/definition.js";
import { planSections } from "../../analytics/report-templates/plan-sections.js";
import type { Db } from "../../db/client.js";
import { type InputIssue, InvalidInput } from "../../errors.js";
import type { ReportRequest } from "../run-requests.js";
import { findTemplate } from "./find-template.js";

/**
 * Checks that a report can be built for this account, and gives what its run has to keep besides the request, so that
 * every attempt builds the same: the zone, and the version of a custom template. Throws `InvalidInput`.
 */
export async function freezeReport(
  db: Db,
  request: ReportRequest,
  account: QueriedAccount,
): Promise<{ time_zone: string; template_version?: number }> {
  const template = await findTemplate(db, request);
  requireFormat(template, request);
  if (rowsSection(template)) requireMessageFilters(request);
  else planSections(template, request, account);
  return {
    time_zone: request.time_zone ?? account.timeZone,
    ...(template.version === undefined ? {} : { template_version: template.version }),
  };
}

function requireFormat(template: ReportTemplate, { format }: ReportRequest): void {
  if (format !== "html" || !rowsSection(template)) return;
  throw InvalidInput.of([
    {
      path: "format",
      code: "other_template",
      message: `html is for numbers; ${template.name} lists messages, of which there may be any number`,
    },
  ]);
}

/** Messages have fewer dimensions than numbers. */
export function requireMessageFilters({ filters }: Pick<ReportRequest, "filters">): void {
  const known: readonly MetricDimension[] = messageDimensions;
  const issues = (Object.keys(filters) as MetricDimension[])
    .filter((name) => !known.includes(name))
    .map(
      (name): InputIssue => ({
        path: `filters.${name}`,
        code: "dimension_not_available",
        message: `messages have no ${name}`,
      }),
    );
  if (issues.length > 0) throw InvalidInput.of(issues);
}
