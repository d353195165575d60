import type { Run } from "../db/queries/runs.js";
import type { ReportRequest } from "./run-requests.js";

/** What a report says of itself where its format has room for it. Times are UTC. */
export interface ReportHead {
  report: string;
  account_id: string;
  from: string;
  to: string;
  time_zone: string;
  /** Not when it was built: building it again gives the same bytes. */
  requested_at: string;
  filters: Record<string, unknown>;
}

export function describeReport(request: ReportRequest, run: Pick<Run, "created_at">): ReportHead {
  return {
    report: request.template,
    account_id: request.account_id,
    from: request.from.toISOString(),
    to: request.to.toISOString(),
    time_zone: request.time_zone ?? "UTC",
    requested_at: run.created_at.toISOString(),
    filters: request.filters,
  };
}
