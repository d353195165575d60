import { Readable } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { requestCancel } from "../../src/db/queries/runs.js";
import { createMailer } from "../../src/delivery/mailer.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { sendDeliveries } from "../../src/jobs/send-deliveries.js";
import { deliveriesOf, finishedRun, passTime } from "../support/deliveries.js";
import { type MailServer, refusal, startMailServer } from "../support/mail-server.js";
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
