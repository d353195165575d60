import type { Outlook } from "../db/queries/admission.js";
import type { Run } from "../db/queries/runs.js";
import type { RunKind } from "../db/schema.js";

/** Where the API has the runs of each kind. */
export const runPaths: Readonly<Record<RunKind, string>> = {
  report: "/analytics/reports",
  export: "/analytics/exports",
  aggregation: "/analytics/aggregations",
  import: "/analytics/imports",
};

/** A run as its users see it, over HTTP and in what is sent to them. `outlook`: of one that is queued. */
export function presentRun(run: Run, outlook: Outlook | null): Record<string, unknown> {
  const self = `${runPaths[run.kind]}/${run.run_id}`;
  const { file } = run;
  const isOpen = run.status === "queued" || run.status === "running";
  const endedBadly = run.status === "failed" || run.status === "cancelled";
  const hasFile = file !== null && !file.removed;
  return {
    id: run.run_id,
    kind: run.kind,
    account_id: run.account_id,
    schedule_id: run.schedule_id,
    status: run.status,
    priority: run.priority,
    params: run.params,
    attempt: run.attempt,
    max_attempts: run.max_attempts,
    progress: presentProgress(run, outlook),
    artifact: file && {
      file_name: file.file_name,
      content_type: file.content_type,
      bytes: file.bytes,
      rows: file.rows,
      sha256: file.sha256,
      expires_at: file.expires_at,
    },
    ...(run.upload && { upload: { bytes: run.upload.bytes, sha256: run.upload.sha256 } }),
    result: run.result,
    error: run.error,
    cancel_requested_at: run.cancel_requested_at,
    created_at: run.created_at,
    started_at: run.started_at,
    finished_at: run.finished_at,
    ...(run.parked_at && { parked_at: run.parked_at }),
    links: {
      self,
      ...(isOpen ? { cancel: `${self}/cancel` } : {}),
      ...(hasFile ? { download: `${self}/download`, manifest: `${self}/manifest` } : {}),
      ...(endedBadly && !run.upload?.removed && !run.parked_at ? { retry: `${self}/retry` } : {}),
    },
  };
}

function presentProgress(run: Run, outlook: Outlook | null): Record<string, number | null> {
  const { progress_rows: rows, progress_total_rows: total, started_at: startedAt } = run;
  // How many rows a file has is known at its end, how many bytes at once.
  const [done, all] = run.upload ? [run.progress_bytes, run.upload.bytes] : [rows, total];
  const fraction = run.status === "succeeded" ? 1 : all ? Math.min(done / all, 1) : null;
  const elapsed = startedAt ? (run.updated_at.getTime() - startedAt.getTime()) / 1000 : 0;
  const isMoving = run.status === "running" && fraction !== null && fraction > 0;
  return {
    rows,
    total_rows: total,
    bytes: run.progress_bytes,
    ...(run.upload && { total_bytes: run.upload.bytes }),
    fraction,
    eta_seconds: isMoving ? Math.round((elapsed / fraction) * (1 - fraction)) : (outlook?.etaSeconds ?? null),
    queue_position: outlook?.position ?? null,
  };
}
