import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { templateDefinition } from "../../src/analytics/report-templates/definition.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { archiveTemplate, insertTemplate, replaceTemplate } from "../../src/db/queries/report-templates.js";
import type { RunKey } from "../../src/db/queries/runs.js";
import type { MadeRun } from "../../src/db/queries/schedule-slots.js";
import { changeSchedule, findSchedule, type Schedule, scheduleKey } from "../../src/db/queries/schedules.js";
import { PermanentJobError } from "../../src/errors.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { fireDue, fireSchedules } from "../../src/jobs/fire-schedules.js";
import { reviewSchedule } from "../../src/jobs/review-schedule.js";
import { silentLog } from "../support/postgres.js";
import { endRuns, makeSchedule, slotsOf } from "../support/schedules.js";
import { openWork, seedMessages, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());
beforeEach(() => test.pool.query("truncate schedules, schedule_slots, runs"));

const at = (text: string) => new Date(`2026-05-${text}:00Z`);
const fire = async (now: string) => (await fireDue(test.db, at(now), silentLog)).runs;
const outcomes = async (schedule: Schedule) =>
  (await slotsOf(test, schedule)).map(
    ({ fire_at, outcome, reason }) =>
      `${fire_at.toISOString().slice(8, 16)} ${outcome}${reason ? ` ${reason}` : ""}`,
  );
const current = async (schedule: Schedule) => (await findSchedule(test.db, schedule.schedule_id, "all"))!;

describe("schedules.fire", () => {
  it("asks for the run of a slot once, with an absolute range, and has it admitted", async () => {
    const schedule = await makeSchedule(test, new Date(), { range: "yesterday", time_zone: "Europe/Berlin" });
    await test.pool.query(
      "update schedules set next_fire_at = look_at - interval '1 day', look_at = look_at - interval '1 day'",
    );
    const admitted: unknown[] = [];
    const admit = async (...asked: unknown[]) => void admitted.push(asked);
    const { result } = await test.work(fireSchedules, {}, { admit });
    expect(result).toEqual({ schedules: 1, runs: 1 });
    expect(admitted).toEqual([["report", "shop"]]);
    const [slot] = await slotsOf(test, schedule);
    const key: RunKey = { accountId: "shop", runId: slot!.run_id!, generation: 1 };
    const run = await test.run(key);
    expect(run).toMatchObject({
      schedule_id: schedule.schedule_id,
      ...{ status: "queued", priority: "scheduled", enqueued_at: null },
      params: {
        ...schedule.request,
        account_id: "shop",
        time_zone: "Europe/Berlin",
        from: slot!.range_from.toISOString(),
        to: slot!.range_to.toISOString(),
      },
    });
    expect(slot).toMatchObject({ outcome: "queued", run_id: key.runId, runs: 1 });
    expect((await test.work(fireSchedules, {}, { admit })).result).toEqual({ schedules: 0, runs: 0 });
    expect(admitted).toHaveLength(1);
  });

  it("with any number of steps at once makes one run a slot", async () => {
    for (let made = 0; made < 250; made++) await makeSchedule(test, at("01T00:00"));
    for (let round = 0; round < 2; round++) {
      const steps = Array.from({ length: 6 }, () => fireDue(test.db, at("01T08:00"), silentLog));
      await Promise.all(steps);
    }
    await fireDue(test.db, at("01T08:01"), silentLog);
    const { rows } = await test.pool.query(
      `select count(*)::integer as slots, count(distinct schedule_id)::integer as schedules,
         (select count(*)::integer from runs) as runs from schedule_slots`,
    );
    expect(rows).toEqual([{ slots: 250, schedules: 250, runs: 250 }]);
  });

  it("does not fire a slot again when the clock goes back", async () => {
    const schedule = await makeSchedule(test, at("01T00:00"));
    expect(await fire("01T08:00")).toHaveLength(1);
    await test.pool.query("update schedules set next_fire_at = $1, look_at = $1", [at("01T08:00")]);
    await endRuns(test);
    expect(await fire("01T08:01")).toEqual([]);
    expect(await outcomes(schedule)).toEqual(["01T08:00 queued"]);
  });

  it("makes runs that workers build, again and again to the same bytes", async () => {
    await seedMessages(test, "shop");
    const made = new Date("2025-03-03T12:00:00Z");
    await makeSchedule(test, made, {
      cron: "0 8 4 3 *",
      range: "last_7_days",
      kind: "export",
      request: { dataset: "messages", format: "csv" },
    });
    const [run] = (await fireDue(test.db, new Date("2025-03-04T08:00:00Z"), silentLog)).runs;
    await test.work(buildExport, run!.key);
    const file = await test.file(run!.key);
    expect((await test.run(run!.key)).artifact?.rows).toBe(12);
    await test.pool.query("update runs set status = 'queued', artifact = null");
    await test.work(buildExport, run!.key);
    expect((await test.file(run!.key)).equals(file)).toBe(true);
  });

  it("is not held up by a schedule that it cannot read", async () => {
    const broken = await makeSchedule(test, at("01T00:00"));
    await test.pool.query("update schedules set time_zone = 'Mars/Olympus'");
    const sound = await makeSchedule(test, at("01T00:00"));
    expect(await fire("01T08:00")).toHaveLength(1);
    expect(await outcomes(sound)).toEqual(["01T08:00 queued"]);
    expect(await outcomes(broken)).toEqual([]);
    expect((await current(broken)).look_at).toEqual(at("01T08:05"));
  });
});

describe("a schedule of a template of the account", () => {
  const version = (name: string, metric: string) => ({
    ...{ accountId: "shop", name, createdBy: "test" },
    definition: templateDefinition.parse({
      title: metric,
      sections: [{ kind: "table", id: "totals", metrics: [metric] }],
    }),
  });
  const scheduleOf = async (name: string, more: object = {}) => {
    await ensureAccounts(test.db, ["shop"]);
    await insertTemplate(test.db, version(name, "messages_sent"));
    const request = { template: name, format: "csv", ...more };
    return makeSchedule(test, at("01T00:30"), { cron: "0 * * * *", overlap: "queue", request });
  };
  const paramsOf = async ([made]: MadeRun[]) => (await test.run(made!.key)).params;

  it("reports by the version of its fire, whenever and however often the report is built", async () => {
    await makeSchedule(test, at("01T00:30"), { cron: "0 * * * *" });
    expect(await paramsOf(await fire("01T01:00"))).not.toHaveProperty("template_version");
    await scheduleOf("kept");
    const [{ key }] = (await fire("01T01:01")) as [MadeRun];
    expect((await test.run(key)).params).toMatchObject({ template: "kept", template_version: 1 });
    await replaceTemplate(test.db, version("kept", "messages_read"));
    const build = async () => {
      await test.work(buildReport, key);
      return (await test.file(key)).toString();
    };
    const file = await build();
    expect(file).toContain("totals,,,,messages_sent,");
    expect(file).not.toContain("messages_read");
    await archiveTemplate(test.db, "shop", "kept");
    await test.pool.query("update runs set status = 'queued', artifact = null");
    expect(await build()).toBe(file);
  });

  it("gives a slot that waits in line the version of its turn, and leaves a version that it names", async () => {
    await scheduleOf("waits");
    await fire("01T01:00");
    expect(await fire("01T02:00")).toEqual([]);
    await replaceTemplate(test.db, version("waits", "messages_read"));
    await endRuns(test);
    expect(await paramsOf(await fire("01T02:01"))).toMatchObject({ template_version: 2 });
    await test.pool.query("truncate schedules, schedule_slots, runs");
    await scheduleOf("named", { template_version: 1 });
    await replaceTemplate(test.db, version("named", "messages_read"));
    expect(await paramsOf(await fire("01T01:00"))).toMatchObject({ template_version: 1 });
  });

  it("fails at once, and by its own fault, when the template is gone before it fires", async () => {
    const schedule = await scheduleOf("gone");
    await archiveTemplate(test.db, "shop", "gone");
    for (const hour of ["01", "02", "03", "04", "05"]) {
      const [run] = await fire(`01T${hour}:00`);
      await expect(test.work(buildReport, run!.key)).rejects.toThrow(PermanentJobError);
      expect((await test.run(run!.key)).error).toEqual({
        code: "invalid_input",
        message: expect.stringContaining("there is no template gone"),
      });
    }
    expect((await current(schedule)).status).toBe("disabled");
  });
});

describe("a slot that meets an open run", () => {
  const hourly = { cron: "0 * * * *" };

  it("is skipped, and the next one fires when the run has ended", async () => {
    const schedule = await makeSchedule(test, at("01T00:30"), { ...hourly, overlap: "skip" });
    await fire("01T01:00");
    expect(await fire("01T02:00")).toEqual([]);
    await endRuns(test);
    expect(await fire("01T03:00")).toHaveLength(1);
    expect(await outcomes(schedule)).toEqual([
      "01T01:00 queued",
      "01T02:00 skipped_overlap previous_run_open",
      "01T03:00 queued",
    ]);
  });

  it("waits its turn with its own range, one after another", async () => {
    const schedule = await makeSchedule(test, at("01T00:30"), { ...hourly, overlap: "queue" });
    await fire("01T01:00");
    await fire("01T02:00");
    await fire("01T03:00");
    expect(await outcomes(schedule)).toEqual(["01T01:00 queued", "01T02:00 waiting", "01T03:00 waiting"]);
    expect(await fire("01T03:01")).toEqual([]);
    await endRuns(test);
    expect(await fire("01T03:02")).toHaveLength(1);
    expect(await fire("01T03:03")).toEqual([]);
    await endRuns(test);
    expect(await fire("01T03:04")).toHaveLength(1);
    const slots = await slotsOf(test, schedule);
    expect(slots.map((slot) => [slot.outcome, slot.from, slot.to])).toEqual(
      [0, 1, 2].map((hour) => [
        "queued",
        at(`01T0${hour}:00`).toISOString(),
        at(`01T0${hour + 1}:00`).toISOString(),
      ]),
    );
    // Nothing waits any more: the next look is at the next slot.
    expect(await current(schedule)).toMatchObject({ look_at: at("01T04:00"), next_fire_at: at("01T04:00") });
  });

  it("leaves the line when the schedule is paused", async () => {
    const schedule = await makeSchedule(test, at("01T00:30"), { ...hourly, overlap: "queue" });
    await fire("01T01:00");
    await fire("01T02:00");
    const now = at("01T02:30");
    await changeSchedule(test.db, scheduleKey(schedule), now, ({ request }) => ({
      fields: { ...fieldsOf(schedule), request },
      standing: { status: "paused", nextFireAt: null },
    }));
    await endRuns(test);
    expect(await fire("01T05:00")).toEqual([]);
    expect(await outcomes(schedule)).toEqual(["01T01:00 queued", "01T02:00 cancelled paused"]);
  });
});

const fieldsOf = ({ name, cron, time_zone, kind, request, range, catch_up, overlap }: Schedule) => ({
  ...{ name, cron, time_zone, kind, request, range, catch_up, overlap },
});

describe("a schedule whose runs keep failing", () => {
  /** Fires on these days of May, each run failing at once. */
  async function fail(days: number[], code: string) {
    for (const day of days) {
      await fire(`${String(day).padStart(2, "0")}T08:00`);
      await endRuns(test, "failed", code);
    }
  }

  it("by its own request is disabled once, with the reason, and fires no more", async () => {
    const schedule = await makeSchedule(test, at("01T00:00"));
    await fail([1, 2, 3, 4], "too_many_buckets");
    await reviewSchedule(test.db, scheduleKey(schedule), at("04T08:01"), silentLog);
    expect((await current(schedule)).status).toBe("active");
    await fail([5], "invalid_request");
    const notices: object[] = [];
    const log = Object.assign(Object.create(silentLog), {
      warn: (_text: string, more: object) => notices.push(more),
    });
    const now = at("05T08:01");
    await Promise.all(
      Array.from({ length: 4 }, () => reviewSchedule(test.db, scheduleKey(schedule), now, log)),
    );
    expect(notices).toHaveLength(1);
    expect(await current(schedule)).toMatchObject({
      status: "disabled",
      disabled: { at: now.toISOString(), code: "invalid_request", message: "it failed" },
      next_fire_at: null,
      look_at: null,
      version: 2,
    });
    expect(await fire("06T08:00")).toEqual([]);
    expect(await outcomes(schedule)).toHaveLength(5);
  });

  it("is disabled with the fifth of them, which is not tried again, as the others were not", async () => {
    const schedule = await makeSchedule(test, at("01T00:00"), {
      cron: "0 8 * * *",
      range: "last_quarter",
      request: { template: "delivery-summary", format: "csv", interval: "15m" },
      catch_up: "all",
    });
    // A quarter is short enough for its bucket; another release may take less.
    const tooLong = { from: "2025-01-01T00:00:00.000Z", to: "2026-01-01T00:00:00.000Z" };
    for (const day of ["01", "02", "03", "04", "05"]) {
      const [run] = await fire(`${day}T08:00`);
      const params = day === "05" ? { format: "pdf" } : tooLong;
      await test.pool.query("update runs set params = params || $1 where run_id = $2", [
        params,
        run!.key.runId,
      ]);
      expect((await current(schedule)).status).toBe("active");
      await expect(test.work(buildReport, run!.key)).rejects.toThrow(PermanentJobError);
      expect(await test.run(run!.key)).toMatchObject({
        status: "failed",
        attempt: 1,
        error: { code: day === "05" ? "invalid_request" : "too_many_buckets" },
      });
    }
    expect(await current(schedule)).toMatchObject({
      status: "disabled",
      disabled: { code: "invalid_request" },
    });
  });

  it("is disabled by its next fire, where nobody could do it before", async () => {
    const schedule = await makeSchedule(test, at("01T00:00"));
    await fail([1, 2, 3, 4, 5], "invalid_request");
    expect(await fire("06T08:00")).toEqual([]);
    expect((await current(schedule)).status).toBe("disabled");
  });

  it("through no fault of its own goes on", async () => {
    const schedule = await makeSchedule(test, at("01T00:00"));
    await fail([1, 2, 3, 4], "invalid_request");
    await fail([5], "disk_full");
    await fail([6, 7, 8, 9], "invalid_request");
    expect(await fire("10T08:00")).toHaveLength(1);
    await endRuns(test);
    await fail([11, 12, 13, 14], "invalid_request");
    expect((await current(schedule)).status).toBe("active");
    expect(await fire("15T08:00")).toHaveLength(1);
  });

  it("starts from zero when it is enabled again", async () => {
    const schedule = await makeSchedule(test, at("01T00:00"));
    await fail([1, 2, 3, 4, 5], "invalid_request");
    await fire("06T08:00");
    await changeSchedule(test.db, scheduleKey(schedule), at("06T09:00"), (before) => ({
      fields: fieldsOf(before),
      standing: { status: "active", nextFireAt: at("07T08:00") },
    }));
    await fail([7, 8, 9, 10], "invalid_request");
    expect(await current(schedule)).toMatchObject({ status: "active", disabled: null });
    await fail([11], "invalid_request");
    await fire("12T08:00");
    expect((await current(schedule)).status).toBe("disabled");
  });
});
