import { z } from "zod";
import { effectiveQuotas } from "../../analytics/quotas.js";
import type { Context } from "../../context.js";
import type { Db } from "../../db/client.js";
import { fileAllowance } from "../../db/queries/account-files.js";
import { type AccountRow, findAccount, queriedAccount } from "../../db/queries/accounts.js";
import { outlookOf } from "../../db/queries/admission.js";
import { readArtifact } from "../../db/queries/artifacts.js";
import { findRun, insertRun, listRuns, type Run, requestCancel, restartRun } from "../../db/queries/runs.js";
import type { FileFacts, Role, RunKind, RunPriority, RunStatus } from "../../db/schema.js";
import { Conflict, Gone, NotFound, TooManyRequests } from "../../errors.js";
import type { NotifyTargets } from "../../jobs/notify-targets.js";
import { presentRun, runPaths } from "../../jobs/present-run.js";
import { freezeReport } from "../../jobs/report/freeze-report.js";
import { aggregationRequest, exportRequest, reportRequest } from "../../jobs/run-requests.js";
import { readJsonBody } from "../body.js";
import { sendFile } from "../download.js";
import { type Answer, withIdempotency } from "../idempotency.js";
import { accountNotFound, type Identity, requireAccount } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { requireReachable } from "../notify.js";
import { newestFirst, pageParameters } from "../pagination.js";
import { presentManifest } from "../present-manifest.js";
import { type ApiRequest, pathUuid, type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";
import { dropEndedJob } from "./admin.js";
import { MAX_RUN_BODY_BYTES, refuseTooLarge } from "./run-estimates.js";

const WAITING_RETRY_SECONDS = 60;

interface Resource {
  kind: RunKind;
  /** Of what is asked for over HTTP. */
  priority: RunPriority;
  /** Reads what a JSON body asks for; a run that comes another way has a route of its own. */
  read?: (body: unknown) => Asked;
  /** Who may look at it. */
  readers: readonly Role[];
  /** Who may ask for one, cancel it and retry it. */
  askers: readonly Role[];
}

interface Asked {
  accountId: string;
  notify: NotifyTargets | undefined;
  /** What the run keeps besides the body, once its account is known. */
  freeze(db: Db, account: AccountRow): Promise<Record<string, unknown>>;
}

type AskedSchema = z.ZodType<{ account_id: string; notify?: NotifyTargets | undefined }>;

const readAs = (schema: AskedSchema) => (body: unknown) => {
  const { account_id: accountId, notify } = parseInput(schema, body);
  return { accountId, notify, freeze: async () => ({}) };
};

function readReport(body: unknown): Asked {
  const asked = parseInput(reportRequest, body);
  return {
    accountId: asked.account_id,
    notify: asked.notify,
    freeze: (db, account) => freezeReport(db, asked, queriedAccount(account)),
  };
}

const resources: readonly Resource[] = [
  {
    kind: "report",
    priority: "interactive",
    read: readReport,
    readers: ["viewer"],
    askers: ["analyst"],
  },
  {
    kind: "export",
    priority: "bulk",
    read: readAs(exportRequest),
    readers: ["analyst"],
    askers: ["analyst"],
  },
  {
    kind: "aggregation",
    priority: "interactive",
    read: readAs(aggregationRequest),
    readers: ["analyst"],
    askers: ["analyst"],
  },
  { kind: "import", priority: "bulk", readers: ["analyst", "ingest"], askers: ["ingest"] },
];

/** Reports, exports, aggregations and imports: four kinds of the same run. */
export function runRoutes(context: Context): Route[] {
  return resources.flatMap((resource) => routesOf(context, resource));
}

function routesOf(context: Context, resource: Resource): Route[] {
  const { kind, readers, askers } = resource;
  const path = runPaths[kind];
  const { db, artifacts } = context;
  const present = async (run: Run) =>
    presentRun(run, run.status === "queued" ? await outlookOf(db, run) : null);
  const find = async (request: ApiRequest) => {
    const run = await findRun(db, kind, pathUuid(request, "id"), scopeOf(request.identity));
    if (!run) throw new NotFound("not_found", `There is no ${kind} with this id.`);
    return run;
  };
  const artifactOf = async (run: Run) =>
    requireFile({ ...run, file: await readArtifact(db, run) }, context.now());
  return [
    ...askRoute(context, resource),
    route({
      method: "get",
      path,
      access: readers,
      async handler(request, response) {
        const query = readQuery(request, listParameters);
        requireAccount(request.identity, query.account_id);
        const { account_id: accountId, status } = query;
        response.json(
          await newestFirst(
            query,
            (page) => listRuns(db, { kind, accountId, status, ...page }),
            (run) => presentRun(run, null),
            (run) => run.run_id,
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
        if (cancelled?.status === "cancelled") await context.admission.admit(kind, run.account_id);
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
        if (run.parked_at)
          throw new Conflict(
            "run_parked",
            `This ${kind} kept ending its worker process; an operator has to start it again.`,
          );
        if (makesFile(kind)) await requireRoom(context, run.account_id);
        const maxWaiting = context.config.quotas.max_waiting;
        const again = await restartRun(db, run.account_id, run.run_id, { maxWaiting });
        if (!again) throw await whyNotAgain(context, await find(request));
        await dropEndedJob(context, again);
        await context.admission.admit(kind, run.account_id);
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
              await sendFile(request, response, artifacts, await artifactOf(await find(request)));
            },
          }),
          route({
            method: "get",
            path: `${path}/:id/manifest`,
            access: readers,
            async handler(request, response) {
              const run = await find(request);
              response.json(presentManifest(run, await artifactOf(run)));
            },
          }),
        ]),
  ];
}

/** Why a run cannot be started over. */
async function whyNotAgain(context: Context, { kind, status, upload, account_id }: Run): Promise<Error> {
  if (upload?.removed) return new Conflict("upload_gone", "The file is no longer there; send it again.");
  if (status === "failed" || status === "cancelled")
    return tooManyWaiting(context, (await findAccount(context.db, account_id))!, kind);
  return new Conflict(
    "run_not_ended_badly",
    `Only a failed or cancelled ${kind} can be retried; this one is ${status}.`,
  );
}

/** The route that asks for a run with a JSON body. */
function askRoute(context: Context, { kind, priority, read, askers }: Resource): Route[] {
  if (!read) return [];
  const { db } = context;
  return [
    route({
      method: "post",
      path: runPaths[kind],
      access: askers,
      limit: "reports",
      async handler(request, response) {
        const body = (await readJsonBody(request, { maxBytes: MAX_RUN_BODY_BYTES })) as Record<
          string,
          unknown
        >;
        const asked = read(body);
        requireAccount(request.identity, asked.accountId);
        const account = await findAccount(db, asked.accountId);
        if (!account) throw accountNotFound();
        await requireReachable(context, account.account_id, asked.notify);
        await withIdempotency(context, request, response, async (effectId) => {
          if (makesFile(kind)) await requireRoom(context, asked.accountId);
          // Kept as it was written: the job reads it with the same schema.
          const params = { ...body, ...(await asked.freeze(db, account)) };
          await refuseTooLarge(context, kind, account, params, request.abandoned);
          const run = await insertRun(db, {
            runId: effectId,
            accountId: account.account_id,
            kind,
            priority,
            params,
            requestedBy: request.identity.keyId,
            maxWaiting: context.config.quotas.max_waiting,
          });
          if (run) return acceptRun(context, run, run.position);
          const made = effectId && (await findRun(db, kind, effectId, [account.account_id]));
          if (!made) throw tooManyWaiting(context, account, kind);
          return acceptRun(context, made, null);
        });
      },
    }),
  ];
}

const makesFile = (kind: RunKind) => kind === "report" || kind === "export";

/** Throws 409 when the account's files have used up its quota: another one would only fail. */
async function requireRoom({ db, config }: Context, accountId: string): Promise<void> {
  const allowance = await fileAllowance(db, accountId, config.artifacts);
  if (!allowance || allowance.quotaBytes === 0 || allowance.usedBytes < allowance.quotaBytes) return;
  throw new Conflict(
    "quota_exceeded",
    `The account's files take ${allowance.usedBytes} bytes, and may take ${allowance.quotaBytes}; files expire, or an admin raises the quota.`,
  );
}

/**
 * Says where to look at a run. Its row is committed, so it is accepted whatever the queue says: when that can't be reached
 * the sweep admits it as soon as it is back.
 */
export async function acceptRun(context: Context, run: Run, position: number | null): Promise<Answer> {
  await context.admission.admit(run.kind, run.account_id);
  const location = `${runPaths[run.kind]}/${run.run_id}`;
  const outlook = position === null ? null : { position, etaSeconds: null };
  return { status: 202, headers: { location }, body: presentRun(run, outlook) };
}

/** An account has as many runs waiting as it may. */
export function tooManyWaiting(context: Context, { quotas }: AccountRow, kind: RunKind): Error {
  const { max_waiting } = effectiveQuotas(quotas, context.config.quotas);
  return new TooManyRequests(
    "too_many_waiting",
    `This account has ${max_waiting} runs of the kind ${kind} waiting, as many as it may (max_waiting).`,
    { headers: { "retry-after": String(WAITING_RETRY_SECONDS) } },
  );
}

const listParameters = z.strictObject({
  ...pageParameters,
  account_id: accountIdText,
  status: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]).optional(),
});

export const scopeOf = (identity: Identity) =>
  identity.accounts === "all" ? undefined : [...identity.accounts];

/** The file of a run; throws 410 when it had one, 409 while it has none. */
export function requireFile<File extends FileFacts>(
  { status, kind, file }: { status: RunStatus; kind: RunKind; file: File | null },
  now: Date,
): File {
  if (status !== "succeeded" || !file)
    throw new Conflict("not_ready", `There is no file: this ${kind} is ${status}.`);
  if (file.removed || new Date(file.expires_at) <= now)
    throw new Gone("artifact_expired", `This file expired at ${file.expires_at}; run the ${kind} again.`);
  return file;
}
