import { z } from "zod";
import { bucketStarts } from "../analytics/buckets.js";
import { ianaZone } from "../analytics/calendar.js";
import { cronExpression } from "../analytics/cron.js";
import { catchUps, overlaps } from "../analytics/due-slots.js";
import { nextFires } from "../analytics/fires.js";
import { relativeRanges } from "../analytics/relative-range.js";
import type { ScheduleFields } from "../db/queries/schedules.js";
import { type ScheduledKind, scheduledKinds } from "../db/schema.js";
import { type InputIssue, InvalidInput } from "../errors.js";
import { exportRequest, reportRequest } from "../jobs/run-requests.js";
import { patternOf, requestOf, slotRange } from "../jobs/scheduled-request.js";
import { safeText } from "../safe-text.js";
import { parseInput } from "./input.js";
import { accountIdText } from "./routes/accounts.js";

/** Checked as a whole, with what the schedule adds to it, by the schema of its kind. */
const request = z.custom<Record<string, unknown>>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  { error: "must be an object", params: { code: "invalid_type" } },
);

const fields = {
  name: safeText(200),
  cron: cronExpression,
  time_zone: ianaZone.optional(),
  report: request.optional(),
  export: request.optional(),
  range: z.enum(relativeRanges),
  catch_up: z.enum(catchUps),
  overlap: z.enum(overlaps),
  paused: z.boolean(),
};

const onlyOneRequest = (value: { report?: unknown; export?: unknown }, context: z.RefinementCtx) => {
  if (value.report !== undefined && value.export !== undefined)
    context.addIssue({
      code: "custom",
      path: ["export"],
      message: "is not for a schedule with a report: one of the two",
      params: { code: "one_request" },
    });
};

export const newSchedule = z
  .strictObject({
    account_id: accountIdText,
    ...fields,
    catch_up: fields.catch_up.default("last"),
    overlap: fields.overlap.default("skip"),
    paused: fields.paused.default(false),
  })
  .superRefine(onlyOneRequest)
  .superRefine((value, context) => {
    if (value.report === undefined && value.export === undefined)
      context.addIssue({
        code: "custom",
        path: ["report"],
        message: "is required, or export",
        params: { code: "required" },
      });
  });

export const scheduleChanges = z.strictObject(fields).partial().superRefine(onlyOneRequest);
export type ScheduleChanges = z.output<typeof scheduleChanges>;

/** The fields of a schedule with what is changed about them. */
export function withChanges(before: ScheduleFields, changes: ScheduleChanges): ScheduleFields {
  const kind = scheduledKinds.find((each) => changes[each] !== undefined) ?? before.kind;
  return {
    name: changes.name ?? before.name,
    cron: changes.cron ?? before.cron,
    time_zone: changes.time_zone ?? before.time_zone,
    kind,
    request: changes[kind] ?? before.request,
    range: changes.range ?? before.range,
    catch_up: changes.catch_up ?? before.catch_up,
    overlap: changes.overlap ?? before.overlap,
  };
}

const schemas = { report: reportRequest, export: exportRequest } as const satisfies Record<
  ScheduledKind,
  z.ZodType
>;
const givenBySchedule = ["account_id", "from", "to"] as const;

/** The next fire; throws `InvalidInput` if what it would ask for could not be asked for over HTTP. */
export function checkedNextFire(accountId: string, schedule: ScheduleFields, now: Date): Date {
  const { kind, request } = schedule;
  const given = givenBySchedule.filter((name) => Object.hasOwn(request, name));
  if (given.length > 0)
    throw InvalidInput.of(
      given.map((name) => ({
        path: `${kind}.${name}`,
        code: "set_by_schedule",
        message: "is given by the schedule",
      })),
    );
  const pattern = patternOf(schedule);
  const { at } = nextFires(pattern, now.getTime(), 1)[0]!;
  const params = requestOf(accountId, schedule, slotRange(schedule, pattern, at));
  try {
    const asked = parseInput(schemas[kind], params);
    if ("interval" in asked)
      bucketStarts(
        asked.from.getTime(),
        asked.to.getTime(),
        asked.interval,
        asked.time_zone ?? schedule.time_zone,
      );
  } catch (error) {
    if (error instanceof InvalidInput) throw InvalidInput.of(issuesWithin(kind, error));
    throw error;
  }
  return new Date(at);
}

const issuesWithin = (kind: ScheduledKind, error: InvalidInput): InputIssue[] =>
  error.issues?.map((issue) => ({ ...issue, path: `${kind}.${issue.path}` })) ?? [
    { path: `${kind}.interval`, code: error.code, message: error.message },
  ];
