import { metricsFields } from "../../analytics/metrics-query.js";
import type { ReportTemplate } from "../../analytics/report-templates/definition.js";
import type { Run } from "../../db/queries/runs.js";
import type { ReportRequest } from "../run-requests.js";

/** What a report says of itself where its format has room for it. Times are UTC. */
export interface ReportHead {
  report: string;
  /** Of a template for people. */
  title?: string;
  template_version?: number;
  account_id: string;
  from: string;
  to: string;
  time_zone: string;
  /** Not when it was built: building it again gives the same bytes. */
  requested_at: string;
  filters: Record<string, unknown>;
  /** What was chosen otherwise than by default. */
  choices?: Record<string, string>;
}

const choiceNames = ["basis", "groups", "responders", "clock", "hours"] as const;

export function describeReport(
  request: ReportRequest,
  run: Pick<Run, "created_at">,
  template: ReportTemplate,
): ReportHead {
  const chosen = choiceNames.filter((name) => request[name] !== metricsFields[name].parse(undefined));
  const isPlain = template.workbook === "plain";
  return {
    report: request.template,
    ...(isPlain ? {} : { title: template.title }),
    ...(template.version === undefined ? {} : { template_version: template.version }),
    account_id: request.account_id,
    from: request.from.toISOString(),
    to: request.to.toISOString(),
    time_zone: request.time_zone ?? "UTC",
    requested_at: run.created_at.toISOString(),
    filters: request.filters,
    ...(isPlain || chosen.length === 0
      ? {}
      : { choices: Object.fromEntries(chosen.map((name) => [name, request[name]])) }),
  };
}
