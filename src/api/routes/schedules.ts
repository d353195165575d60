import { z } from "zod";
import { nextFires } from "../../analytics/fires.js";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { insertManualRun } from "../../db/queries/manual-runs.js";
import { listSlots } from "../../db/queries/schedule-slots.js";
import {
  changeSchedule,
  deleteSchedule,
  findSchedule,
  insertSchedule,
  listSchedules,
  type Schedule,
  type ScheduleChange,
  scheduleKey,
} from "../../db/queries/schedules.js";
import { scheduledKinds } from "../../db/schema.js";
import { Conflict, NotFound, PreconditionFailed } from "../../errors.js";
import { admitMade, fireDue } from "../../jobs/fire-schedules.js";
import { notifyTargets } from "../../jobs/notify-targets.js";
import { pinTemplates } from "../../jobs/pin-templates.js";
import { findTemplate } from "../../jobs/report/find-template.js";
import { namedTemplate } from "../../jobs/run-requests.js";
import { patternOf, requestOf, slotRange } from "../../jobs/scheduled-request.js";
import { readJsonBody } from "../body.js";
import { namesTag } from "../entity-tag.js";
import { withIdempotency } from "../idempotency.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { requireReachable } from "../notify.js";
import { decodeCursor, newestFirst, pageParameters, toPage } from "../pagination.js";
import { presentFire, presentSchedule, presentSlot } from "../present-schedule.js";
import { type ApiRequest, pathUuid, type Route, route } from "../route.js";
import {
  checkedNextFire,
  newSchedule,
  type ScheduleChanges,
  scheduleChanges,
  withChanges,
} from "../schedule-input.js";
import { accountIdText, scopeOf } from "./accounts.js";
import { acceptRun, tooManyWaiting } from "./runs.js";

const MAX_BODY_BYTES = 256 * 1024;
const MAX_SCHEDULES = 200;
const MAX_PREVIEW = 100;

const collection = "/analytics/schedules";
const one = `${collection}/:id`;

export function scheduleRoutes(context: Context): Route[] {
  const { db } = context;
  const find = async (request: ApiRequest) => {
    const row = await findSchedule(db, pathUuid(request, "id"), scopeOf(request.identity));
    if (!row) throw scheduleNotFound();
    return row;
  };
  const change = async (request: ApiRequest, decide: (schedule: Schedule) => ScheduleChange | undefined) => {
    const row = await changeSchedule(db, scheduleKey(await find(request)), context.now(), (before) => {
      requireMatch(request, before);
      return decide(before);
    });
    if (!row) throw scheduleNotFound();
    return row;
  };
  /** Who is to be told can be told, and the template is there; the schema of the request has its say later. */
  const requireTargets = async (accountId: string, body: ScheduleChanges) => {
    for (const kind of scheduledKinds) {
      const targets = notifyTargets.safeParse(body[kind]?.notify);
      if (targets.success) await requireReachable(context, accountId, targets.data, `${kind}.notify`);
    }
    const named = namedTemplate.safeParse(body.report);
    if (named.success) await findTemplate(db, { account_id: accountId, ...named.data }, "report.");
  };
  return [
    route({
      method: "post",
      path: collection,
      access: ["analyst"],
      async handler(request, response) {
        const body = parseInput(newSchedule, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        requireAccount(request.identity, body.account_id);
        const account = await findAccount(db, body.account_id);
        if (!account) throw accountNotFound();
        await requireTargets(account.account_id, body);
        await withIdempotency(context, request, response, async () => {
          const now = context.now();
          const kind = body.report ? "report" : "export";
          const fields = withChanges({ ...body, kind, request: {}, time_zone: account.time_zone }, body);
          const next = checkedNextFire(account.account_id, fields, now);
          const row = await insertSchedule(
            db,
            {
              accountId: account.account_id,
              requestedBy: request.identity.keyId,
              fields,
              standing: body.paused ? paused : { status: "active", nextFireAt: next },
              now,
            },
            MAX_SCHEDULES,
          );
          if (!row)
            throw new Conflict("too_many_schedules", `An account may have ${MAX_SCHEDULES} schedules.`);
          const location = `${collection}/${row.schedule_id}`;
          return { status: 201, headers: { location, etag: tagOf(row) }, body: presentSchedule(row) };
        });
      },
    }),
    route({
      method: "get",
      path: collection,
      access: ["viewer"],
      async handler(request, response) {
        const query = readQuery(request, listParameters);
        requireAccount(request.identity, query.account_id);
        const { account_id: accountId, status } = query;
        response.json(
          await newestFirst(
            query,
            (page) => listSchedules(db, { accountId, status, ...page }),
            presentSchedule,
            (row) => row.schedule_id,
          ),
        );
      },
    }),
    route({
      method: "get",
      path: one,
      access: ["viewer"],
      async handler(request, response) {
        const row = await find(request);
        response.set("etag", tagOf(row)).json(presentSchedule(row));
      },
    }),
    route({
      method: "patch",
      path: one,
      access: ["analyst"],
      async handler(request, response) {
        const changes = parseInput(
          scheduleChanges,
          await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }),
        );
        const now = context.now();
        // What is due by the pattern before fires by it.
        const key = scheduleKey(await find(request));
        await requireTargets(key.accountId, changes);
        const { runs } = await fireDue(db, now, request.log, key);
        await admitMade(context.admission.admit, runs);
        const row = await change(request, (before) => {
          const fields = withChanges(before, changes);
          const next = checkedNextFire(before.account_id, fields, now);
          const stays = changes.paused === undefined && before.status === "paused";
          const isPaused = changes.paused ?? stays;
          return { fields, standing: isPaused ? paused : { status: "active", nextFireAt: next } };
        });
        response.set("etag", tagOf(row)).json(presentSchedule(row));
      },
    }),
    route({
      method: "delete",
      path: one,
      access: ["analyst"],
      async handler(request, response) {
        const row = await find(request);
        requireMatch(request, row);
        if (!(await deleteSchedule(db, scheduleKey(row)))) throw scheduleNotFound();
        response.status(204).end();
      },
    }),
    route({
      method: "post",
      path: `${one}/pause`,
      access: ["analyst"],
      async handler(request, response) {
        const row = await change(request, (before) =>
          before.status === "active" ? { fields: withChanges(before, {}), standing: paused } : undefined,
        );
        response.set("etag", tagOf(row)).json(presentSchedule(row));
      },
    }),
    route({
      method: "post",
      path: `${one}/resume`,
      access: ["analyst"],
      async handler(request, response) {
        const row = await change(request, (before) => {
          if (before.status === "active") return undefined;
          const next = checkedNextFire(before.account_id, before, context.now());
          return { fields: withChanges(before, {}), standing: { status: "active", nextFireAt: next } };
        });
        response.set("etag", tagOf(row)).json(presentSchedule(row));
      },
    }),
    route({
      method: "post",
      path: `${one}/run`,
      access: ["analyst"],
      limit: "reports",
      async handler(request, response) {
        const schedule = await find(request);
        await withIdempotency(context, request, response, async () => {
          const now = context.now();
          const range = slotRange(schedule, patternOf(schedule), now.getTime());
          const [pinned] = await pinTemplates(db, [schedule]);
          const params = requestOf(schedule.account_id, pinned!, range);
          const requestedBy = request.identity.keyId;
          const { max_waiting: maxWaiting } = context.config.quotas;
          const run = await insertManualRun(db, schedule, { params, range, requestedBy, now, maxWaiting });
          if (!run)
            throw tooManyWaiting(context, (await findAccount(db, schedule.account_id))!, schedule.kind);
          return acceptRun(context, run, run.position);
        });
      },
    }),
    route({
      method: "get",
      path: `${one}/fires`,
      access: ["viewer"],
      async handler(request, response) {
        const { n } = readQuery(request, previewParameters);
        const schedule = await find(request);
        const pattern = patternOf(schedule);
        const fires = nextFires(pattern, context.now().getTime(), n);
        response.json({ data: fires.map((fire) => presentFire(schedule, pattern, fire)) });
      },
    }),
    route({
      method: "get",
      path: `${one}/history`,
      access: ["viewer"],
      async handler(request, response) {
        const { limit, cursor } = readQuery(request, z.strictObject(pageParameters));
        const before = cursor === undefined ? undefined : new Date(decodeCursor(z.iso.datetime(), cursor));
        const rows = await listSlots(db, scheduleKey(await find(request)), { before, limit: limit + 1 });
        response.json(toPage(rows, limit, presentSlot, (row) => row.fire_at.toISOString()));
      },
    }),
  ];
}

const paused = { status: "paused", nextFireAt: null } as const;

const listParameters = z.strictObject({
  ...pageParameters,
  account_id: accountIdText,
  status: z.enum(["active", "paused", "disabled"]).optional(),
});

const previewMessage = `must be a whole number from 1 to ${MAX_PREVIEW}`;
const previewParameters = z.strictObject({
  n: z
    .string()
    .regex(/^[1-9]\d{0,2}$/, previewMessage)
    .transform(Number)
    .pipe(z.number().max(MAX_PREVIEW, previewMessage))
    .default(20),
});

const scheduleNotFound = () => new NotFound("not_found", "There is no schedule with this id.");

const tagOf = (row: Schedule) => `"${row.version}"`;

/** Somebody who says which version the change is meant for does not undo another's change unseen. */
function requireMatch(request: ApiRequest, row: Schedule): void {
  const wanted = request.headers["if-match"];
  if (wanted !== undefined && !namesTag(wanted, tagOf(row)))
    throw new PreconditionFailed(
      "version_changed",
      `This schedule has been changed: its version is ${row.version}.`,
    );
}
