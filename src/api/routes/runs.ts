import { join } from "node:path";
import { z } from "zod";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import {
  findRun,
  insertRun,
  listRuns,
  markEnqueued,
  queuePosition,
  type Run,
  requestCancel,
  restartRun,
  runJobId,
} from "../../db/queries/runs.js";
import type { Role, RunKind } from "../../db/schema.js";
import { Conflict, Gone, NotFound } from "../../errors.js";
import { createDiskStore } from "../../exports/artifacts/disk.js";
import { runJobs } from "../../jobs/run-jobs.js";
import { aggregationRequest, exportRequest, reportRequest } from "../../jobs/run-requests.js";
import { readJsonBody } from "../body.js";
import { sendFile } from "../download.js";
import { type Answer, withIdempotency } from "../idempotency.js";
import { accountNotFound, type Identity, requireAccount } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, pageParameters, toPage } from "../pagination.js";
import { presentManifest } from "../present-manifest.js";
import { type ApiRequest, pathUuid, type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const MAX_BODY_BYTES = 256 * 1024;

interface Resource {
  kind: RunKind;
  path: string;
  /** What a JSON body may ask for; one that comes another way has a route of its own. */
  request?: z.ZodType<{ account_id: string; time_zone?: string | undefined }>;
  /** Who may look at it. */
  readers: readonly Role[];
  /** Who may ask for one, cancel it and retry it. */
  askers: readonly Role[];
}

const resources: readonly Resource[] = [
  {
    kind: "report",
    path: "/analytics/reports",
    request: reportRequest,
    readers: ["viewer"],
    askers: ["analyst"],
  },
  {
    kind: "export",
    path: "/analytics/exports",
    request: exportRequest,
    readers: ["analyst"],
    askers: ["analyst"],
  },
  {
    kind: "aggregation",
    path: "/analytics/aggregations",
    request: aggregationRequest,
    readers: ["analyst"],
    askers: ["analyst"],
  },
  { kind: "import", path: "/analytics/imports", readers: ["analyst", "ingest"], askers: ["ingest"] },
];

/** Reports, exports, aggregations and imports: four kinds of the same run. */
export function runRoutes(context: Context): Route[] {
  return resources.flatMap((resource) => routesOf(context, resource));
}

function routesOf(context: Context, resource: Resource): Route[] {
  const { kind, path, readers, askers } = resource;
  const { db } = context;
  const artifacts = createDiskStore(join(context.config.dataDir, "artifacts"));
  const present = async (run: Run) =>
    presentRun(run, path, run.status === "queued" ? await queuePosition(db, run) : null);
  const find = async (request: ApiRequest) => {
    const run = await findRun(db, kind, pathUuid(request, "id"), scopeOf(request.identity));
    if (!run) throw new NotFound("not_found", `There is no ${kind} with this id.`);
    return run;
  };
  return [
    ...askRoute(context, resource),
    route({
      method: "get",
      path,
      access: readers,
      async handler(request, response) {
        const query = readQuery(request, listParameters);
        requireAccount(request.identity, query.account_id);
        const before = query.cursor === undefined ? undefined : decodeCursor(cursorShape, query.cursor);
        const rows = await listRuns(db, {
          kind,
          accountId: query.account_id,
          status: query.status,
          before: before && { createdAt: new Date(before[0]), runId: before[1] },
          limit: query.limit + 1,
        });
        response.json(
          toPage(
            rows,
            query.limit,
            (run) => presentRun(run, path, null),
            (run) => [run.created_at.toISOString(), run.run_id],
          ),
        );
      },
    }),
    route({
      method: "get",
      path: `${path}/:id`,
      access: readers,
      async handler(request, response) {
        response.json(await present(await find(request)));
      },
    }),
    route({
      method: "post",
      path: `${path}/:id/cancel`,
      access: askers,
      async handler(request, response) {
        const run = await find(request);
        const cancelled = await requestCancel(db, run.account_id, run.run_id);
        response.json(await present(cancelled ?? (await find(request))));
      },
    }),
    route({
      method: "post",
      path: `${path}/:id/retry`,
      access: askers,
      limit: "reports",
      async handler(request, response) {
        const run = await find(request);
        const again = await restartRun(db, run.account_id, run.run_id);
        if (!again && run.upload?.removed)
          throw new Conflict("upload_gone", "The file is no longer there; send it again.");
        if (!again)
          throw new Conflict(
            "run_not_ended_badly",
            `Only a failed or cancelled ${kind} can be retried; this one is ${run.status}.`,
          );
        await enqueueRun(context, again, request);
        response.status(202).json(await present(again));
      },
    }),
    ...(kind === "aggregation"
      ? []
      : [
          route({
            method: "get",
            path: `${path}/:id/download`,
            access: readers,
            stream: true,
            async handler(request, response) {
              const run = await find(request);
              requireFile(run, context.now());
              await sendFile(request, response, artifacts, run.artifact!);
            },
          }),
          route({
            method: "get",
            path: `${path}/:id/manifest`,
            access: readers,
            async handler(request, response) {
              const run = await find(request);
              requireFile(run, context.now());
              response.json(presentManifest(run, run.artifact!));
            },
          }),
        ]),
  ];
}

/** The route that asks for a run with a JSON body. */
function askRoute(context: Context, { kind, path, request: schema, askers }: Resource): Route[] {
  if (!schema) return [];
  const { db } = context;
  return [
    route({
      method: "post",
      path,
      access: askers,
      limit: "reports",
      async handler(request, response) {
        const body = (await readJsonBody(request, { maxBytes: MAX_BODY_BYTES })) as Record<string, unknown>;
        const asked = parseInput(schema, body);
        requireAccount(request.identity, asked.account_id);
        const account = await findAccount(db, asked.account_id);
        if (!account) throw accountNotFound();
        await withIdempotency(context, request, response, async () => {
          // Kept as it was written: the job reads it with the same schema. The zone is frozen now.
          const params = kind === "report" ? { time_zone: account.time_zone, ...body } : body;
          const run = await insertRun(db, {
            accountId: account.account_id,
            kind,
            params,
            requestedBy: request.identity.keyId,
          });
          return acceptRun(context, run, request, path);
        });
      },
    }),
  ];
}

/** Enqueues a run that has its row, and says where to look at it. */
export async function acceptRun(
  context: Context,
  run: Run & { position: number },
  request: ApiRequest,
  path: string,
): Promise<Answer> {
  await enqueueRun(context, run, request);
  const location = `${path}/${run.run_id}`;
  return { status: 202, headers: { location }, body: presentRun(run, path, run.position) };
}

const listParameters = z.strictObject({
  ...pageParameters,
  account_id: accountIdText,
  status: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]).optional(),
});
const cursorShape = z.tuple([z.iso.datetime(), z.uuid()]);

const scopeOf = (identity: Identity) => (identity.accounts === "all" ? undefined : [...identity.accounts]);

/**
 * The row is committed, so the run is accepted whatever the queue says: when it can't be reached the sweep adds the job
 * as soon as it is back.
 */
async function enqueueRun(context: Context, run: Run, request: ApiRequest): Promise<void> {
  const key = { accountId: run.account_id, runId: run.run_id, generation: run.generation };
  try {
    await context.queues.enqueue(runJobs[run.kind], key, { id: runJobId(key) });
  } catch (error) {
    request.log.warn("run accepted but not enqueued yet; the sweep will", { ...key, error });
    await markEnqueued(context.db, key, false).catch(() => {});
  }
}

function requireFile(run: Run, now: Date): void {
  if (run.status === "succeeded" && run.artifact) {
    if (!run.artifact.removed && new Date(run.artifact.expires_at) > now) return;
    throw new Gone(
      "artifact_expired",
      `This file expired at ${run.artifact.expires_at}; run the ${run.kind} again.`,
    );
  }
  throw new Conflict("not_ready", `There is no file: this ${run.kind} is ${run.status}.`);
}

function presentRun(run: Run, path: string, position: number | null): Record<string, unknown> {
  const self = `${path}/${run.run_id}`;
  const { artifact } = run;
  const isOpen = run.status === "queued" || run.status === "running";
  const endedBadly = run.status === "failed" || run.status === "cancelled";
  const hasFile = artifact !== null && !artifact.removed;
  return {
    id: run.run_id,
    kind: run.kind,
    account_id: run.account_id,
    status: run.status,
    params: run.params,
    attempt: run.attempt,
    max_attempts: run.max_attempts,
    progress: presentProgress(run, position),
    artifact: artifact && {
      file_name: artifact.file_name,
      content_type: artifact.content_type,
      bytes: artifact.bytes,
      rows: artifact.rows,
      sha256: artifact.sha256,
      expires_at: artifact.expires_at,
    },
    ...(run.upload && { upload: { bytes: run.upload.bytes, sha256: run.upload.sha256 } }),
    result: run.result,
    error: run.error,
    cancel_requested_at: run.cancel_requested_at,
    created_at: run.created_at,
    started_at: run.started_at,
    finished_at: run.finished_at,
    links: {
      self,
      ...(isOpen ? { cancel: `${self}/cancel` } : {}),
      ...(hasFile ? { download: `${self}/download`, manifest: `${self}/manifest` } : {}),
      ...(endedBadly && !run.upload?.removed ? { retry: `${self}/retry` } : {}),
    },
  };
}

function presentProgress(run: Run, position: number | null): Record<string, number | null> {
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
    eta_seconds: isMoving ? Math.round((elapsed / fraction) * (1 - fraction)) : null,
    queue_position: position,
  };
}
