import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { runOfDelivery } from "../../src/db/queries/deliveries.js";
import { announce } from "../../src/db/queries/notify.js";
import {
  claimRun,
  failAbandonedRun,
  requestCancel,
  restartRun,
  settleRun,
} from "../../src/db/queries/runs.js";
import { rotateSecret, updateEndpoint } from "../../src/db/queries/webhook-endpoints.js";
import { createEgress } from "../../src/delivery/egress.js";
import { MAX_ATTEMPTS } from "../../src/delivery/retry-schedule.js";
import { generateSecret, secretText } from "../../src/delivery/sign-webhook.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { Interrupted } from "../../src/jobs/interrupted.js";
import { sendDeliveries } from "../../src/jobs/send-deliveries.js";
import { addEndpoint, aReport, deliveriesOf, finishedRun, passTime } from "../support/deliveries.js";
import { startCanary, startReceiver, verifySignature } from "../support/receiver.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

let accounts = 0;
const newAccount = () => `shop-${++accounts}`;
const webhook = (id: string) => ({ type: "webhook", endpoint_id: id });

async function receiver() {
  const started = await startReceiver();
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}
const egressTo = (...ports: number[]) =>
  createEgress(
    { allowHttp: true, ports, privateNetworks: ["127.0.0.0/8"] },
    { connectMs: 300, totalMs: 600 },
  );
const send = (
  target: { accountId: string; endpointId: string | null },
  ports: number[],
  more: Partial<JobContext> = {},
) => test.work(sendDeliveries, target, { egress: egressTo(...ports), ...more });
const endpointRow = (id: string) =>
  test.db.selectFrom("webhook_endpoints").selectAll().where("endpoint_id", "=", id).executeTakeFirstOrThrow();

describe("a run that ends", () => {
  it("has one delivery for each endpoint and address, in the statement that ends it", async () => {
    const account = newAccount();
    const { id } = await addEndpoint(test, account, "https://example.com/");
    const key = await finishedRun(test, account, [
      webhook(id),
      { type: "email", to: ["a@example.com", "b@example.com"], subject: "Numbers" },
    ]);
    const rows = await deliveriesOf(test, account);
    expect(rows.map((row) => [row.event, row.run_id, row.status, row.endpoint_id, row.mail])).toEqual([
      ["run.succeeded", key.runId, "pending", id, null],
      [
        "run.succeeded",
        key.runId,
        "pending",
        null,
        { to: "a@example.com", subject: "Numbers", locale: null },
      ],
      [
        "run.succeeded",
        key.runId,
        "pending",
        null,
        { to: "b@example.com", subject: "Numbers", locale: null },
      ],
    ]);
  });

  it.each([
    [
      "cancelled while it waits",
      "run.cancelled",
      async (key) => requestCancel(test.db, key.accountId, key.runId),
    ],
    [
      "given up by the queue",
      "run.failed",
      async (key) => failAbandonedRun(test.db, key, { code: "a", message: "b" }, { park: false }),
    ],
    [
      "cancelled instead of queued again",
      "run.cancelled",
      async (key) => {
        const { fence } = (await claimRun(test.db, key, "test"))!;
        await requestCancel(test.db, key.accountId, key.runId);
        await settleRun(test.db, { ...key, fence }, { status: "queued", spendAttempt: true });
      },
    ],
  ] as [string, string, (key: Awaited<ReturnType<TestWork["insertRun"]>>) => Promise<unknown>][])(
    "tells so once when it is %s",
    async (_title, event, end) => {
      const account = newAccount();
      const { id } = await addEndpoint(test, account, "https://example.com/");
      const key = await test.insertRun("report", account, { ...aReport, notify: [webhook(id)] });
      await end(key);
      await end(key).catch(() => {});
      expect((await deliveriesOf(test, account)).map((row) => row.event)).toEqual([event]);
    },
  );

  it("tells nobody while it is only put back, and again when it was started over", async () => {
    const account = newAccount();
    const { id } = await addEndpoint(test, account, "https://example.com/");
    const key = await test.insertRun("report", account, { ...aReport, notify: [webhook(id)] });
    const { fence } = (await claimRun(test.db, key, "test"))!;
    await settleRun(test.db, { ...key, fence }, { status: "queued", spendAttempt: true });
    expect(await deliveriesOf(test, account)).toEqual([]);
    await failAbandonedRun(test.db, key, { code: "a", message: "b" }, { park: false });
    const again = (await restartRun(test.db, account, key.runId))!;
    await failAbandonedRun(
      test.db,
      { ...key, generation: again.generation },
      { code: "a", message: "b" },
      { park: false },
    );
    expect((await deliveriesOf(test, account)).map((row) => row.generation)).toEqual([1, 2]);
  });

  it("tells an endpoint what it listens to only, and a disabled one nothing until it is asked for", async () => {
    const account = newAccount();
    const deaf = await addEndpoint(test, account, "https://example.com/", ["run.failed"]);
    const off = await addEndpoint(test, account, "https://example.com/");
    await updateEndpoint(test.db, off.target, { enabled: false });
    await finishedRun(test, account, [webhook(deaf.id), webhook(off.id)]);
    const rows = await deliveriesOf(test, account);
    expect(rows.map((row) => [row.endpoint_id, row.status])).toEqual([[off.id, "cancelled"]]);
  });

  it("tells endpoints of other accounts nothing, whatever its parameters name", async () => {
    const [account, other] = [newAccount(), newAccount()];
    const foreign = await addEndpoint(test, other, "https://example.com/");
    await addEndpoint(test, account, "https://example.com/");
    await finishedRun(test, account, [webhook(foreign.id)]);
    expect(await deliveriesOf(test, account)).toEqual([]);
    expect(await deliveriesOf(test, other)).toEqual([]);
  });
});

describe("a webhook", () => {
  it("is signed as Standard Webhooks says and holds the run as the API presents it", async () => {
    const account = newAccount();
    const { url, port, received } = await receiver();
    const { target, id, secret } = await addEndpoint(test, account, url);
    const key = await finishedRun(
      test,
      account,
      [webhook(id), { type: "email", to: ["secret@example.com"] }],
      "succeeded",
      { bytes: 10 },
    );
    expect((await send(target, [port])).result).toMatchObject({ delivered: 1, failed: 0 });
    const [got] = received;
    expect(verifySignature(secretText(secret), got!)).toEqual(got!.json);
    const [delivery] = await deliveriesOf(test, account);
    expect(got!.headers["webhook-id"]).toBe(delivery!.delivery_id);
    expect(got!.headers["content-type"]).toBe("application/json");
    expect(got!.json).toMatchObject({
      type: "run.succeeded",
      timestamp: (await test.run(key)).finished_at!.toISOString(),
      data: {
        run: {
          id: key.runId,
          kind: "report",
          account_id: account,
          status: "succeeded",
          artifact: { bytes: 10, rows: 3 },
          links: { download: `/analytics/reports/${key.runId}/download` },
        },
      },
    });
    expect(got!.body).not.toContain("secret@example.com");
    expect(got!.json.data.run.artifact.key).toBeUndefined();
    expect(delivery).toMatchObject({ status: "delivered", attempts: 1 });
    expect(delivery!.log).toMatchObject([{ attempt: 1, outcome: "delivered", status: 204 }]);
    // A second run of the job finds nothing to do.
    expect((await send(target, [port])).result).toMatchObject({ delivered: 0 });
    expect(received).toHaveLength(1);
  });

  it("carries the signature of the old secret too until its day is over", async () => {
    const account = newAccount();
    const { url, port, received } = await receiver();
    const { target, id, secret } = await addEndpoint(test, account, url);
    const next = generateSecret();
    await rotateSecret(test.db, target, next, new Date(Date.now() + 60_000));
    await finishedRun(test, account, [webhook(id)]);
    await send(target, [port]);
    for (const each of [secret, next])
      expect(() => verifySignature(secretText(each), received[0]!)).not.toThrow();
    await finishedRun(test, account, [webhook(id)]);
    await send(target, [port], { now: () => new Date(Date.now() + 61_000) });
    expect(received[1]!.headers["webhook-signature"]!.split(" ")).toHaveLength(1);
  });

  it("that fails is tried again under the same id, by the schedule, until it is out of attempts", async () => {
    const account = newAccount();
    const { url, port, received, answer } = await receiver();
    const { target, id } = await addEndpoint(test, account, url);
    await finishedRun(test, account, [webhook(id)]);
    answer((response) => void response.writeHead(500).end("private words"));
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      await send(target, [port]);
      const [row] = await deliveriesOf(test, account);
      expect(row!.attempts).toBe(attempt);
      expect(row!.status).toBe(attempt < MAX_ATTEMPTS ? "pending" : "failed");
      await passTime(test, account);
    }
    await send(target, [port]);
    expect(received).toHaveLength(MAX_ATTEMPTS);
    expect(new Set(received.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(new Set(received.map(({ body }) => body)).size).toBe(1);
    const [row] = await deliveriesOf(test, account);
    expect(row!.log).toHaveLength(MAX_ATTEMPTS);
    expect(row!.log[0]).toMatchObject({ attempt: 1, outcome: "failed", code: "http_status", status: 500 });
    expect(JSON.stringify(row)).not.toContain("private words");
  });

  it("waits as long as Retry-After says, and so do the endpoint's others", async () => {
    const account = newAccount();
    const { url, port, received, answer } = await receiver();
    const { target, id } = await addEndpoint(test, account, url);
    await finishedRun(test, account, [webhook(id)]);
    answer((response) => void response.writeHead(429, { "retry-after": "3600" }).end());
    await send(target, [port]);
    const [row] = await deliveriesOf(test, account);
    const endpoint = await endpointRow(id);
    for (const at of [row!.next_attempt_at, endpoint.resume_at!])
      expect(Math.abs(at.getTime() - Date.now() - 3_600_000)).toBeLessThan(30_000);
    await finishedRun(test, account, [webhook(id)]);
    expect((await send(target, [port])).result).toEqual({ delivered: 0, failed: 0, cancelled: 0 });
    expect(received).toHaveLength(1);
  });

  it("that an endpoint answers with 410 disables it, once, and the account's other endpoints are told", async () => {
    const account = newAccount();
    const [leaving, staying] = [await receiver(), await receiver()];
    const gone = await addEndpoint(test, account, leaving.url);
    const other = await addEndpoint(test, account, staying.url, ["endpoint.disabled"]);
    await finishedRun(test, account, [webhook(gone.id)]);
    await finishedRun(test, account, [webhook(gone.id)]);
    leaving.answer((response) => void response.writeHead(410).end());
    const ports = [leaving.port, staying.port];
    await send(gone.target, ports);
    await send(gone.target, ports);
    expect(await endpointRow(gone.id)).toMatchObject({ disabled_reason: "gone" });
    const statuses = (await deliveriesOf(test, account)).map((row) => [row.event, row.status]);
    expect(statuses).toEqual([
      ["run.succeeded", "failed"],
      ["run.succeeded", "failed"],
      ["endpoint.disabled", "pending"],
    ]);
    await send(other.target, ports);
    expect(staying.received.map(({ json }) => json)).toMatchObject([
      { type: "endpoint.disabled", data: { endpoint: { id: gone.id, reason: "gone" } } },
    ]);
  });

  it("fails for good, with all that wait, once there was nothing but failures for five days; enabled again it works", async () => {
    const account = newAccount();
    const { url, port, received, answer } = await receiver();
    const { target, id } = await addEndpoint(test, account, url);
    await finishedRun(test, account, [webhook(id)]);
    answer((response) => void response.writeHead(503).end());
    await send(target, [port]);
    const aged = "update webhook_endpoints set failing_since = now() - $2::interval where endpoint_id = $1";
    await test.pool.query(aged, [id, "4 days 23 hours"]);
    await passTime(test, account);
    await send(target, [port]);
    expect(await endpointRow(id)).toMatchObject({ disabled_at: null });
    await test.pool.query(aged, [id, "5 days"]);
    await passTime(test, account);
    await send(target, [port]);
    expect(await endpointRow(id)).toMatchObject({ disabled_reason: "failing" });
    expect((await deliveriesOf(test, account))[0]).toMatchObject({ status: "failed" });
    await updateEndpoint(test.db, target, { enabled: true });
    answer((response) => void response.writeHead(200).end());
    await finishedRun(test, account, [webhook(id)]);
    await send(target, [port]);
    expect(received).toHaveLength(4);
    expect(await endpointRow(id)).toMatchObject({ failing_since: null, disabled_at: null });
  });

  it("after a failure is tried alone, and with others again once it went well", async () => {
    const account = newAccount();
    const { url, port, received, answer } = await receiver();
    const { target, id } = await addEndpoint(test, account, url);
    for (let n = 0; n < 6; n++) await finishedRun(test, account, [webhook(id)]);
    answer((response) => void response.socket!.destroy());
    await send(target, [port]);
    const seen = received.length;
    await passTime(test, account);
    await send(target, [port]);
    expect(received.length).toBe(seen + 1);
    await passTime(test, account);
    answer((response) => void response.writeHead(204).end());
    expect((await send(target, [port])).result).toMatchObject({ delivered: 6 });
  });

  it("of a run that was started over since is not sent", async () => {
    const account = newAccount();
    const { url, port, received } = await receiver();
    const { target, id } = await addEndpoint(test, account, url);
    const key = await finishedRun(test, account, [webhook(id)], "failed");
    await restartRun(test.db, account, key.runId);
    expect((await send(target, [port])).result).toMatchObject({ cancelled: 1 });
    expect(received).toEqual([]);
    const [row] = await deliveriesOf(test, account);
    expect(row).toMatchObject({ status: "cancelled", log: [{ code: "superseded" }] });
    expect(await runOfDelivery(test.db, row!)).toBeUndefined();
  });

  it("that waits for an endpoint which is disabled or gone by then is cancelled", async () => {
    const account = newAccount();
    const { target, id } = await addEndpoint(test, account, "https://example.com/");
    const statuses = async () => (await deliveriesOf(test, account)).map((row) => row.status);
    await finishedRun(test, account, [webhook(id)]);
    // As if it had been disabled while the run was ending.
    await test.pool.query("update webhook_endpoints set disabled_at = now() where endpoint_id = $1", [id]);
    expect((await send(target, [])).result).toEqual({ delivered: 0, failed: 0, cancelled: 0 });
    expect(await statuses()).toEqual(["cancelled"]);
    await updateEndpoint(test.db, target, { enabled: true });
    await finishedRun(test, account, [webhook(id)]);
    await test.pool.query("delete from webhook_endpoints where endpoint_id = $1", [id]);
    await send(target, []);
    expect(await statuses()).toEqual(["cancelled", "cancelled"]);
  });

  it("of news goes to those that listen", async () => {
    const account = newAccount();
    const { url, port, received } = await receiver();
    const { target } = await addEndpoint(test, account, url);
    await addEndpoint(test, account, url, ["run.failed"]);
    await announce(test.db, {
      accountId: account,
      event: "schedule.disabled",
      data: { schedule: { id: "s" } },
    });
    await send(target, [port]);
    expect(received.map(({ json }) => json)).toMatchObject([
      { type: "schedule.disabled", data: { schedule: { id: "s" } } },
    ]);
  });

  it("is handed back by a worker that has to leave, without a lost attempt", async () => {
    const account = newAccount();
    const canary = await startCanary();
    onTestFinished(() => canary[Symbol.asyncDispose]());
    const { target, id } = await addEndpoint(test, account, `http://127.0.0.1:${canary.port}/`);
    await finishedRun(test, account, [webhook(id)]);
    const leaving = new AbortController();
    const egress = createEgress({ allowHttp: true, ports: [canary.port], privateNetworks: ["127.0.0.1/32"] });
    const sending = send(target, [], { signal: leaving.signal, egress });
    const outcome = expect(sending).rejects.toThrow("shutting down");
    await expect.poll(() => canary.bytes()).toBeGreaterThan(0);
    leaving.abort(new Interrupted("shutdown", "shutting down"));
    await outcome;
    const [row] = await deliveriesOf(test, account);
    expect(row).toMatchObject({ status: "pending", attempts: 1, base_attempt: 1 });
    expect(row!.log).toMatchObject([{ attempt: 1, outcome: "handed_back" }]);
    expect(row!.next_attempt_at.getTime()).toBeLessThanOrEqual(Date.now());
    expect((await endpointRow(id)).failing_since).toBeNull();
  });

  it("whose attempt another worker has taken over is not written down twice", async () => {
    const account = newAccount();
    const { url, port, received, answer } = await receiver();
    const { target, id } = await addEndpoint(test, account, url);
    await finishedRun(test, account, [webhook(id)]);
    answer(async (response) => {
      const isFirst = received.length === 1;
      // The lease is over, and somebody else sends it meanwhile.
      if (isFirst) {
        await passTime(test, account);
        await send(target, [port]);
      }
      response.writeHead(isFirst ? 500 : 204).end();
    });
    await send(target, [port]);
    const [row] = await deliveriesOf(test, account);
    expect(row).toMatchObject({ status: "delivered", attempts: 2 });
    expect(row!.log.map((entry) => entry.outcome)).toEqual([undefined, "delivered"]);
  });
});
