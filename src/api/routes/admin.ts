import { z } from "zod";
import type { Context } from "../../context.js";
import { parkedRuns } from "../../db/queries/parked-runs.js";
import { pauseQueue, resumeQueue } from "../../db/queries/queue-pauses.js";
import { type Run, restartRun, runJobId } from "../../db/queries/runs.js";
import { NotFound } from "../../errors.js";
import { type QueueName, queueNames } from "../../jobs/define-job.js";
import { runJobs } from "../../jobs/run-jobs.js";
import { readJsonBody } from "../body.js";
import { requireAllAccounts } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, pageParameters, toPage } from "../pagination.js";
import { type ApiRequest, pathId, type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const MAX_BODY_BYTES = 64 * 1024;
const MAX_REDRIVEN = 1_000;

const kind = z.enum(["report", "export", "aggregation", "import"]);
const parkedParameters = z.strictObject({
  ...pageParameters,
  account_id: accountIdText.optional(),
  kind: kind.optional(),
});
const cursorShape = z.tuple([z.iso.datetime(), z.uuid()]);

/** Which parked runs: at least one of the first three, so that nobody starts all of them by an empty body. */
const redriveRequest = z
  .strictObject({
    account_id: accountIdText.optional(),
    kind: kind.optional(),
    ids: z.array(z.uuid()).min(1).max(MAX_REDRIVEN).optional(),
    limit: z.int().min(1).max(MAX_REDRIVEN).default(100),
  })
  .refine(
    ({ account_id, kind, ids }) => account_id !== undefined || kind !== undefined || ids !== undefined,
    {
      path: ["account_id"],
      error: "is required, or kind, or ids: they say which runs",
      params: { code: "required" },
    },
  );

/** What operators do to queues and to runs that kept killing their workers. */
export function adminRoutes(context: Context): Route[] {
  const { db, queues, admission } = context;
  return [
    route({
      method: "post",
      path: "/analytics/admin/queues/:queue/pause",
      access: ["operator"],
      async handler(request, response) {
        const queue = queueInPath(request);
        const { paused_at, paused_by } = await pauseQueue(db, queue, request.identity.name);
        await soon(request, queue, queues.pause(queue));
        response.json({ queue, paused: true, paused_at, paused_by });
      },
    }),
    route({
      method: "post",
      path: "/analytics/admin/queues/:queue/resume",
      access: ["operator"],
      async handler(request, response) {
        const queue = queueInPath(request);
        // The queue first: were it away, the row would say that nothing is paused while its jobs are held.
        await queues.resume(queue);
        await resumeQueue(db, queue);
        // A worker may have held it again in between.
        await soon(request, queue, queues.resume(queue));
        await admission.admitAll();
        response.json({ queue, paused: false });
      },
    }),
    route({
      method: "get",
      path: "/analytics/admin/parked",
      access: ["operator"],
      async handler(request, response) {
        requireAllAccounts(request.identity);
        const query = readQuery(request, parkedParameters);
        const before = query.cursor === undefined ? undefined : decodeCursor(cursorShape, query.cursor);
        const rows = await parkedRuns(
          db,
          {
            accountId: query.account_id,
            kind: query.kind,
            before: before && { parkedAt: new Date(before[0]), runId: before[1] },
          },
          query.limit + 1,
        );
        response.json(
          toPage(rows, query.limit, presentParked, (run) => [run.parked_at!.toISOString(), run.run_id]),
        );
      },
    }),
    route({
      method: "post",
      path: "/analytics/admin/parked/redrive",
      access: ["operator"],
      async handler(request, response) {
        requireAllAccounts(request.identity);
        const asked = parseInput(redriveRequest, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        const filter = { accountId: asked.account_id, kind: asked.kind, runIds: asked.ids };
        const redriven: Run[] = [];
        for (const parked of await parkedRuns(db, filter, asked.limit)) {
          const run = await restartRun(db, parked.account_id, parked.run_id, { parked: true });
          if (!run) continue;
          redriven.push(run);
          await dropEndedJob(context, run);
        }
        if (redriven.length > 0) await admission.admitAll();
        const left = await parkedRuns(db, filter, 1);
        response.json({ redriven: redriven.map((run) => run.run_id), has_more: left.length > 0 });
      },
    }),
  ];
}

/** The job of the generation before is of no use any more; what can't be removed goes with its age. */
export async function dropEndedJob({ queues }: Context, run: Run): Promise<void> {
  const key = { accountId: run.account_id, runId: run.run_id, generation: run.generation - 1 };
  await queues.remove(runJobs[run.kind].queue, runJobId(key)).catch(() => {});
}

function queueInPath(request: ApiRequest): QueueName {
  requireAllAccounts(request.identity);
  const name = pathId(request, "queue");
  const queue = queueNames.find((known) => known === name);
  if (!queue)
    throw new NotFound("not_found", `There is no queue with this name; there are: ${queueNames.join(", ")}.`);
  return queue;
}

/** The row says what is wanted: where the queue can't be reached now, a worker sees to it within seconds. */
const soon = (request: ApiRequest, queue: QueueName, work: Promise<void>) =>
  work.catch((error: unknown) =>
    request.log.warn("queue not paused or resumed yet; a worker will", { queue, error }),
  );

const presentParked = (run: Run) => ({
  id: run.run_id,
  kind: run.kind,
  account_id: run.account_id,
  error: run.error,
  worker: run.worker,
  attempt: run.attempt,
  last_heartbeat_at: run.heartbeat_at,
  created_at: run.created_at,
  parked_at: run.parked_at,
  params: run.params,
});
