import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findDueDeliveries } from "../../src/jobs/find-due-deliveries.js";
import { startWorkers, type Workers } from "../../src/workers/start-workers.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { type MailServer, startMailServer } from "../support/mail-server.js";
import { type Receiver, startReceiver, verifySignature } from "../support/receiver.js";
import { seedMessages, seedRange } from "../support/work.js";

let app: TestApp;
let bare: TestApp;
let workers: Workers | undefined;
let dataDir: string;
let receiver: Receiver;
let mail: MailServer;
beforeAll(async () => {
  [receiver, mail] = [await startReceiver(), await startMailServer()];
  dataDir = await mkdtemp(join(tmpdir(), "deliveries-test-"));
  app = await startTestApp({
    env: {
      DATA_DIR: dataDir,
      WEBHOOK_ALLOW_HTTP: "true",
      WEBHOOK_PORTS: `443,${receiver.port}`,
      WEBHOOK_PRIVATE_NETWORKS: "127.0.0.0/8",
      SMTP_URL: `smtp://127.0.0.1:${mail.port}`,
      MAIL_FROM: "Shop <reports@shop.example>",
    },
  });
  bare = await startTestApp({ databaseUrl: app.databaseUrl, env: { API_KEY: app.adminKey } });
  await seedMessages(app.context, "shop");
  await seedMessages(app.context, "other");
  workers = await startWorkers(app.context);
});
afterAll(async () => {
  await workers?.drain(2_000);
  await bare.close();
  await app.close();
  await receiver[Symbol.asyncDispose]();
  await mail[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.answer((response) => void response.writeHead(204).end());
});

const send = (
  method: string,
  path: string,
  body?: unknown,
  more: { key?: string; headers?: Record<string, string> } = {},
) => call(app.url, method, `/analytics/${path}`, { key: app.adminKey, body, ...more });
const keyOf = async (role: string, accounts: string[]): Promise<string> =>
  (await send("POST", "keys", { name: role, role, account_ids: accounts })).json.key;
const report = { account_id: "shop", template: "message-log", format: "csv", ...seedRange };
const endpoint = { account_id: "shop", url: "https://example.com/hook" };
const issuesOf = (json: { errors: { path: string; code: string }[] }) =>
  json.errors.map(({ path, code }) => `${path} ${code}`);
const created = async (more: object = {}) =>
  (
    await send("POST", "webhook-endpoints", {
      ...endpoint,
      url: receiver.url,
      events: ["run.succeeded", "run.failed", "run.cancelled"],
      ...more,
    })
  ).json;
const settled = (id: string, status: string) =>
  expect
    .poll(async () => (await send("GET", `deliveries/${id}`)).json, { timeout: 10_000 })
    .toMatchObject({ status });

describe("webhook endpoints", () => {
  it("are made with a secret that is shown once, listed, changed and removed", async () => {
    const headers = { "idempotency-key": "endpoint-1" };
    const made = await send(
      "POST",
      "webhook-endpoints",
      { ...endpoint, events: ["run.failed", "run.failed"] },
      { headers },
    );
    expect(made.status).toBe(201);
    const { id, secret, ...shown } = made.json;
    expect(made.headers.get("location")).toBe(`/analytics/webhook-endpoints/${id}`);
    expect(secret).toMatch(/^whsec_.{44}$/);
    expect(shown).toEqual({
      ...endpoint,
      events: ["run.failed"],
      description: null,
      enabled: true,
      disabled_at: null,
      disabled_reason: null,
      failing_since: null,
      previous_secret_until: null,
      created_at: expect.stringMatching(/Z$/),
    });
    expect(
      (
        await send(
          "POST",
          "webhook-endpoints",
          { ...endpoint, events: ["run.failed", "run.failed"] },
          { headers },
        )
      ).json,
    ).toEqual(made.json);
    expect((await send("GET", `webhook-endpoints/${id}`)).json).toEqual({ id, ...shown });
    const listed = await send("GET", "webhook-endpoints?account_id=shop&limit=1");
    expect(listed.json).toEqual({ data: [{ id, ...shown }], next_cursor: null });

    const changes = { url: "https://example.com:8443/b", description: "ours", enabled: false };
    expect((await send("PATCH", `webhook-endpoints/${id}`, changes)).status).toBe(400);
    const { url: _, ...rest } = changes;
    const changed = await send("PATCH", `webhook-endpoints/${id}`, rest);
    expect(changed.json).toMatchObject({
      description: "ours",
      enabled: false,
      disabled_reason: "by_request",
    });
    expect((await send("POST", `webhook-endpoints/${id}/test`)).json.code).toBe("endpoint_disabled");
    expect((await send("PATCH", `webhook-endpoints/${id}`, { enabled: true })).json).toMatchObject({
      enabled: true,
      disabled_reason: null,
    });
    expect((await send("DELETE", `webhook-endpoints/${id}`)).status).toBe(204);
    expect((await send("GET", `webhook-endpoints/${id}`)).status).toBe(404);
  });

  it("page by page, the newest first", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) ids.unshift((await created({ account_id: "other" })).id);
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page = await send(
        "GET",
        `webhook-endpoints?account_id=other&limit=2${cursor && `&cursor=${cursor}`}`,
      );
      seen.push(...page.json.data.map((one: { id: string }) => one.id));
      cursor = page.json.next_cursor;
    }
    expect(seen).toEqual(ids);
  });

  it.each([
    [{ url: "http://169.254.169.254:443/" }, "url address_not_allowed"],
    [{ url: "https://0x7f.1:6379/" }, "url port_not_allowed"],
    [{ url: "nonsense" }, "url invalid_url"],
    [{ url: undefined }, "url required"],
    [{ events: [] }, "events too_small"],
    [{ events: ["run.started"] }, "events[0] invalid_value"],
    [{ secret: "mine" }, "secret unknown_field"],
  ])("names the mistake in %j", async (more, issue) => {
    const reply = await send("POST", "webhook-endpoints", { ...endpoint, ...more });
    expect(reply.status).toBe(400);
    expect(issuesOf(reply.json)).toEqual([issue]);
  });

  it("of other accounts are as good as absent, and viewers see none", async () => {
    const { id } = await created();
    const [stranger, viewer] = [await keyOf("analyst", ["other"]), await keyOf("viewer", ["shop"])];
    for (const [method, path] of [
      ["GET", ""],
      ["PATCH", ""],
      ["DELETE", ""],
      ["POST", "/rotate-secret"],
      ["POST", "/test"],
    ] as const) {
      const body = method === "PATCH" ? { enabled: false } : undefined;
      expect((await send(method, `webhook-endpoints/${id}${path}`, body, { key: stranger })).status).toBe(
        404,
      );
      expect((await send(method, `webhook-endpoints/${id}${path}`, body, { key: viewer })).status).toBe(403);
    }
    expect((await send("POST", "webhook-endpoints", endpoint, { key: stranger })).status).toBe(404);
    expect(
      (await send("GET", "webhook-endpoints?account_id=shop", undefined, { key: stranger })).status,
    ).toBe(404);
    const foreign = { ...report, account_id: "other", notify: [{ type: "webhook", endpoint_id: id }] };
    const reply = await send("POST", "reports", foreign, { key: stranger });
    expect(issuesOf(reply.json)).toEqual(["notify[0].endpoint_id unknown_endpoint"]);
  });

  it("get a test event that is signed with the new and the old secret while they rotate", async () => {
    const { id, secret } = await created();
    const rotated = await send("POST", `webhook-endpoints/${id}/rotate-secret`);
    expect(rotated.json.secret).not.toBe(secret);
    expect(Date.parse(rotated.json.previous_secret_until)).toBeGreaterThan(Date.now() + 23 * 3_600_000);
    const asked = await send("POST", `webhook-endpoints/${id}/test`);
    expect(asked.status).toBe(202);
    expect(asked.headers.get("location")).toBe(`/analytics/deliveries/${asked.json.id}`);
    await settled(asked.json.id, "delivered");
    const [got] = receiver.received;
    for (const each of [secret, rotated.json.secret]) expect(verifySignature(each, got!)).toEqual(got!.json);
    expect(got!.json).toMatchObject({ type: "endpoint.test", data: { endpoint: { id } } });
  });
});

describe("a report with notify", () => {
  it("is told of by webhook and mail once it is done, each with a delivery to look at", async () => {
    const { id, secret } = await created();
    const notify = [
      { type: "webhook", endpoint_id: id },
      { type: "email", to: ["reader@example.com"] },
    ];
    const asked = await send("POST", "reports", { ...report, notify });
    expect(asked.status).toBe(202);
    expect(asked.json.params.notify).toEqual(notify);
    const runId = asked.json.id;
    const list = () => send("GET", `deliveries?account_id=shop&run_id=${runId}&status=delivered`);
    await expect.poll(async () => (await list()).json.data.length, { timeout: 15_000 }).toBe(2);
    const [got] = receiver.received;
    verifySignature(secret, got!);
    const { json: run } = await send("GET", `reports/${runId}`);
    const { notify: _, ...params } = run.params;
    expect(got!.json).toEqual({
      type: "run.succeeded",
      timestamp: run.finished_at,
      data: { run: { ...run, params } },
    });
    expect(mail.mails.at(-1)!.mail.attachments[0]!.content.length).toBe(run.artifact.bytes);
    for (const each of (await list()).json.data) {
      expect(each).toMatchObject({
        event: "run.succeeded",
        run_id: runId,
        attempts: 1,
        attempts_left: 0,
        next_attempt_at: null,
      });
      const one = await send("GET", `deliveries/${each.id}`);
      const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/);
      expect(one.json.log).toMatchObject([
        { attempt: 1, outcome: "delivered", started_at: time, finished_at: time },
      ]);
      expect((await send("POST", `deliveries/${each.id}/retry`)).json.code).toBe("delivery_not_ended_badly");
      const stranger = await keyOf("analyst", ["other"]);
      expect((await send("GET", `deliveries/${each.id}`, undefined, { key: stranger })).status).toBe(404);
    }
  });

  it("whose receiver refuses it can be sent again, under the same id, without building the file again", async () => {
    const { id } = await created();
    receiver.answer((response) => void response.writeHead(410).end());
    const asked = await send("POST", "reports", {
      ...report,
      notify: [{ type: "webhook", endpoint_id: id }],
    });
    await expect
      .poll(async () => (await send("GET", `webhook-endpoints/${id}`)).json, { timeout: 10_000 })
      .toMatchObject({
        enabled: false,
        disabled_reason: "gone",
      });
    const [failed] = (await send("GET", `deliveries?account_id=shop&run_id=${asked.json.id}`)).json.data;
    expect(failed).toMatchObject({ status: "failed", last_attempt: { code: "http_status", status: 410 } });
    expect((await send("POST", failed.links.retry.slice("/analytics/".length))).json.code).toBe(
      "endpoint_not_enabled",
    );
    await send("PATCH", `webhook-endpoints/${id}`, { enabled: true });
    receiver.answer((response) => void response.writeHead(200).end());
    const again = await send("POST", `deliveries/${failed.id}/retry`);
    expect([again.status, again.json.status]).toEqual([202, "pending"]);
    await settled(failed.id, "delivered");
    expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"]))).toEqual(
      new Set([failed.id]),
    );
    expect((await send("GET", `reports/${asked.json.id}`)).json.attempt).toBe(1);
  });

  it("that ends where no worker can say so is told of by the sweep of what is due", async () => {
    const { id } = await created();
    await workers!.drain(2_000);
    workers = undefined;
    const asked = await send("POST", "exports", {
      account_id: "shop",
      dataset: "messages",
      format: "csv",
      ...seedRange,
      notify: [{ type: "webhook", endpoint_id: id }],
    });
    await send("POST", `exports/${asked.json.id}/cancel`);
    workers = await startWorkers(app.context);
    await app.context.queues.enqueue(findDueDeliveries, {});
    await expect
      .poll(() => receiver.received.map(({ json }) => json), { timeout: 15_000 })
      .toMatchObject([
        { type: "run.cancelled", data: { run: { id: asked.json.id, kind: "export", status: "cancelled" } } },
      ]);
  });

  it("is refused for an unknown endpoint, and for mail where there is no server", async () => {
    const notify = [
      { type: "email", to: ["reader@example.com"] },
      { type: "webhook", endpoint_id: "5f2b7b58-3f8e-4a5e-9f0d-1f6f5f6c7a10" },
    ];
    const reply = await send("POST", "reports", { ...report, notify });
    expect(issuesOf(reply.json)).toEqual(["notify[1].endpoint_id unknown_endpoint"]);
    const without = await call(bare.url, "POST", "/analytics/reports", {
      key: app.adminKey,
      body: { ...report, notify },
    });
    expect(without.status).toBe(400);
    expect(issuesOf(without.json)).toEqual([
      "notify[0].type not_available",
      "notify[1].endpoint_id unknown_endpoint",
    ]);
    const nested = await send("POST", "reports", { ...report, notify: [{ type: "email", to: ["x"] }] });
    expect(nested.json.errors[0].path).toBe("notify[0].to[0]");
  });
});
