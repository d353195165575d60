import type { Run } from "../db/queries/runs.js";
import type { Artifact } from "../db/schema.js";

/**
 * What a finished file is and how it can be checked. It appears together with the file, in the statement that makes both
 * visible: without a manifest there is no file.
 */
export function presentManifest(run: Run, artifact: Artifact): Record<string, unknown> {
  const { file_name, content_type, bytes, rows, sha256, content } = artifact;
  return {
    manifest: 1,
    id: run.run_id,
    kind: run.kind,
    account_id: run.account_id,
    requested_at: run.created_at,
    finished_at: run.finished_at,
    params: run.params,
    ...{ file_name, content_type, bytes, rows, sha256 },
    truncated: false,
    as_of: content?.as_of ?? null,
    consistency: content?.consistency ?? null,
    columns: content?.columns ?? null,
    parts: content?.parts ?? [{ offset: 0, bytes, rows, sha256 }],
  };
}
