import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { disableFailing } from "../../src/db/queries/failing-schedules.js";
import { requestCancel } from "../../src/db/queries/runs.js";
import { scheduleKey } from "../../src/db/queries/schedules.js";
import { createMailer } from "../../src/delivery/mailer.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { fireDue } from "../../src/jobs/fire-schedules.js";
import { reviewSchedule } from "../../src/jobs/review-schedule.js";
import { scheduleDisabledNotice } from "../../src/jobs/schedule-disabled-notice.js";
import { sendDeliveries } from "../../src/jobs/send-deliveries.js";
import { serviceFaults } from "../../src/jobs/service-faults.js";
import { deliveriesOf, finishedRun, passTime } from "../support/deliveries.js";
import { type MailServer, refusal, startMailServer } from "../support/mail-server.js";
import { silentLog } from "../support/postgres.js";
import { endRuns, makeSchedule } from "../support/schedules.js";
import { openWork, type TestWork, testSettings } from "../support/work.js";

let test: TestWork;
let server: MailServer;
/** What the server says to a recipient instead of yes. */
const refused = new Map<string, number>();
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());
beforeEach(async () => {
  refused.clear();
  server = await startMailServer({
    onRcptTo({ address }, _session, callback) {
      const status = refused.get(address);
      callback(status === undefined ? null : refusal(status, "no"));
    },
  });
});
afterEach(() => server[Symbol.asyncDispose]());

const MAX_BYTES = 1_000;
const send = (accountId: string, more: Partial<JobContext> = {}) =>
  test.work(
    sendDeliveries,
    { accountId, endpointId: null },
    {
      ...more,
      mailer: createMailer({
        smtpUrl: `smtp://127.0.0.1:${server.port}`,
        from: "reports@shop.example",
        attachmentMaxBytes: MAX_BYTES,
      }),
    },
  );
const email = (to: string[], more: object = {}) => [{ type: "email", to, ...more }];

async function finishedWithFile(accountId: string, notify: unknown[], content: string) {
  const key = await finishedRun(test, accountId, notify, "succeeded", { bytes: content.length });
  await test.artifacts.write(`${key.runId}/1`, Readable.from([Buffer.from(content)]));
  return key;
}

describe("mails of a run", () => {
  it("go to each reader alone, with the file while it is small", async () => {
    const content = "x".repeat(MAX_BYTES);
    await finishedWithFile(
      "small",
      email(["a@example.com", "b@example.com"], { subject: "Numbers", locale: "de" }),
      content,
    );
    expect((await send("small")).result).toMatchObject({ delivered: 2 });
    expect(server.mails.map(({ envelope }) => envelope.to)).toEqual([["a@example.com"], ["b@example.com"]]);
    for (const { mail } of server.mails) {
      expect(mail.subject).toBe("Numbers");
      expect(mail.text).toContain("Die Datei hängt an.");
      expect(mail.attachments.map((one) => [one.filename, one.content.toString()])).toEqual([
        ["message-log-2026-01-01-2026-02-01.csv", content],
      ]);
    }
    expect(new Set(server.mails.map(({ mail }) => mail.messageId)).size).toBe(2);
    expect((await send("small")).result).toMatchObject({ delivered: 0 });
  });

  it("have a link instead of a file that is a byte too large", async () => {
    const key = await finishedWithFile("large", email(["a@example.com"]), "x".repeat(MAX_BYTES + 1));
    await send("large");
    const [{ mail }] = server.mails as [MailServer["mails"][number]];
    expect(mail.attachments).toEqual([]);
    expect(mail.text).toContain(`/analytics/reports/${key.runId}/download`);
    expect(mail.subject).toBe("Report message-log is ready");
  });

  it("have a link that needs no key, where the service knows how it is reached", async () => {
    const key = await finishedWithFile("linked", email(["a@example.com"]), "x".repeat(MAX_BYTES + 1));
    await send("linked", { settings: { ...testSettings, publicUrl: "https://reports.example" } });
    const [{ mail }] = server.mails as [MailServer["mails"][number]];
    const [, linkId] = /https:\/\/reports\.example\/analytics\/downloads\/([0-9a-f-]{36})\.\S{43}\b/.exec(
      mail.text!,
    )!;
    const { rows } = await test.pool.query(
      "select link_id, requested_by from download_links where run_id = $1",
      [key.runId],
    );
    expect(rows).toEqual([
      { link_id: linkId, requested_by: expect.stringMatching(/^delivery [0-9a-f-]{36}$/) },
    ]);
    expect(mail.html).toContain(`href="https://reports.example/analytics/downloads/${linkId}.`);
  });

  it("tell of a failure, and why", async () => {
    await finishedRun(test, "failed", email(["a@example.com"]), "failed");
    await send("failed");
    expect(server.mails[0]!.mail.text).toContain("It broke. (internal_error)");
  });

  it("tell of an export of changes too, which has no period", async () => {
    const key = await test.insertRun("export", "changes", {
      dataset: "events",
      format: "ndjson",
      since: "0",
      notify: email(["a@example.com"]),
    });
    await requestCancel(test.db, "changes", key.runId);
    await send("changes");
    expect(server.mails[0]!.mail.subject).toBe("Export events was cancelled");
    expect(server.mails[0]!.mail.text).not.toContain("Period");
  });

  it("are tried again where the server asks for it, given up where it knows better, each for itself", async () => {
    await finishedRun(test, "mixed", email(["good@example.com", "grey@example.com", "gone@example.com"]));
    refused.set("grey@example.com", 451).set("gone@example.com", 550);
    expect((await send("mixed")).result).toMatchObject({ delivered: 1, failed: 2 });
    const summary = async () =>
      (await deliveriesOf(test, "mixed")).map((row) => [row.mail!.to, row.status, row.log.at(-1)!.status]);
    expect(await summary()).toEqual([
      ["good@example.com", "delivered", undefined],
      ["grey@example.com", "pending", 451],
      ["gone@example.com", "failed", 550],
    ]);
    refused.clear();
    await passTime(test, "mixed");
    await send("mixed");
    expect((await summary()).map(([, status]) => status)).toEqual(["delivered", "delivered", "failed"]);
    const { messageId } = server.mails[1]!.mail;
    expect(messageId).toContain((await deliveriesOf(test, "mixed"))[1]!.delivery_id);
  });

  it("wait where no server is configured any more", async () => {
    await finishedRun(test, "unconfigured", email(["a@example.com"]));
    await test.work(sendDeliveries, { accountId: "unconfigured", endpointId: null });
    expect((await deliveriesOf(test, "unconfigured"))[0]).toMatchObject({
      status: "pending",
      log: [{ code: "mail_not_configured" }],
    });
  });
});

describe("mails of a schedule that was switched off", () => {
  beforeEach(() => test.pool.query("truncate schedules, schedule_slots, runs, deliveries"));

  const at = (text: string) => new Date(`2026-05-${text}:00Z`);
  const notify = [
    ...email(["a@example.com", "b@example.com"], { subject: "Numbers", locale: "de" }),
    ...email(["c@example.com"]),
    { type: "webhook", endpoint_id: "00000000-0000-4000-8000-000000000000" },
  ];
  const scheduleTelling = (targets: object[]) =>
    makeSchedule(test, at("01T00:00"), {
      time_zone: "Europe/Berlin",
      request: { template: "gone", format: "csv", notify: targets },
    });

  /** Five fires from this day of May on, each run failing by its own request. */
  async function failFrom(day: number): Promise<Date> {
    const days = [0, 1, 2, 3, 4].map((more) => at(`${String(day + more).padStart(2, "0")}T06:00`));
    for (const now of days) {
      expect((await fireDue(test.db, now, silentLog)).runs).toHaveLength(1);
      await endRuns(test, "failed", "invalid_input");
    }
    return days.at(-1)!;
  }

  it("go to each of its readers once, however often it is looked at and the job is run", async () => {
    const schedule = await scheduleTelling(notify);
    const now = await failFrom(1);
    expect(await deliveriesOf(test, "shop")).toEqual([]);
    const review = () => reviewSchedule(test.db, scheduleKey(schedule), now, silentLog);
    await Promise.all([review(), review(), review(), fireDue(test.db, at("06T06:00"), silentLog)]);
    expect(await deliveriesOf(test, "shop")).toMatchObject(
      Array(3).fill({ event: "schedule.disabled", run_id: null, endpoint_id: null }),
    );
    await Promise.all([send("shop"), send("shop")]);
    expect((await send("shop")).result).toMatchObject({ delivered: 0 });
    const mails = new Map(server.mails.map(({ envelope, mail }) => [envelope.to.join(), mail]));
    expect(server.mails).toHaveLength(3);
    expect([...mails.keys()].sort()).toEqual(["a@example.com", "b@example.com", "c@example.com"]);
    expect(mails.get("a@example.com")!.subject).toBe("Der Zeitplan every morning ist abgeschaltet");
    const { subject, text, html } = mails.get("c@example.com")!;
    expect(subject).toBe("Schedule every morning is switched off");
    for (const body of [text!, html as string])
      for (const fact of ["May 5, 2026", "Europe/Berlin", "it failed (invalid_input)", schedule.schedule_id])
        expect(body).toContain(fact);
  });

  it("go again when it was switched on and off again", async () => {
    await scheduleTelling(email(["a@example.com"]));
    await failFrom(1);
    await fireDue(test.db, at("06T06:00"), silentLog);
    await test.pool.query(
      `update schedules set status = 'active', enabled_at = $1::timestamptz, next_fire_at = $1, look_at = $1`,
      [at("07T06:00")],
    );
    await failFrom(7);
    await fireDue(test.db, at("12T06:00"), silentLog);
    await send("shop");
    expect(server.mails.map(({ envelope }) => envelope.to)).toEqual(Array(2).fill(["a@example.com"]));
    expect(new Set(server.mails.map(({ mail }) => mail.messageId)).size).toBe(2);
  });

  it("are there exactly if it is off, and wait where no server is configured", async () => {
    const schedule = await scheduleTelling(email(["a@example.com"]));
    const now = await failFrom(1);
    const undone = test.db.transaction().execute(async (trx) => {
      const [disabled] = await disableFailing(trx, [scheduleKey(schedule)], serviceFaults, now);
      await scheduleDisabledNotice(trx, disabled!, silentLog);
      throw new Error("the worker dies");
    });
    await expect(undone).rejects.toThrow("the worker dies");
    expect(await deliveriesOf(test, "shop")).toEqual([]);
    await reviewSchedule(test.db, scheduleKey(schedule), now, silentLog);
    await test.work(sendDeliveries, { accountId: "shop", endpointId: null });
    expect(await deliveriesOf(test, "shop")).toMatchObject([
      { status: "pending", log: [{ code: "mail_not_configured" }] },
    ]);
    await passTime(test, "shop");
    await send("shop");
    expect(server.mails).toHaveLength(1);
  });

  it("are none where nobody is to be told by mail", async () => {
    await scheduleTelling([{ type: "webhook", endpoint_id: "00000000-0000-4000-8000-000000000000" }]);
    await failFrom(1);
    await fireDue(test.db, at("06T06:00"), silentLog);
    expect(await deliveriesOf(test, "shop")).toEqual([]);
  });
});
