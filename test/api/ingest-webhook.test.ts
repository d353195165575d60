import { createHmac } from "node:crypto";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import {
  fixtureNames,
  messaging,
  readFixture,
  received,
  status,
  webhook,
} from "../sources/whatsapp-cloud-webhook.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { countEvents, dumpStored } from "./ingest-events.js";

const path = "/analytics/sources/whatsapp-cloud";
const TOKEN = "verify-token";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    env: { WHATSAPP_APP_SECRET: "secret-old,secret-new", WHATSAPP_VERIFY_TOKEN: TOKEN },
  });
});
afterAll(() => app.close());

const sign = (raw: string | Buffer, secret = "secret-new") =>
  `sha256=${createHmac("sha256", secret).update(raw).digest("hex")}`;
const deliverRaw = (raw: string | Buffer, signature: string | undefined = sign(raw), to = app) =>
  call(to.url, "POST", path, {
    raw,
    headers: {
      "content-type": "application/json",
      ...(signature ? { "x-hub-signature-256": signature } : {}),
    },
  });
const deliver = (payload: unknown, to = app) => {
  const raw = JSON.stringify(payload);
  return deliverRaw(raw, sign(raw), to);
};
const shake = (query: string, to = app) => call(to.url, "GET", `${path}?${query}`);
const quarantineRows = async () =>
  await app.context.db.selectFrom("quarantined_events").selectAll().orderBy("last_seen_at", "desc").execute();

describe("the handshake", () => {
  test("answers the challenge as it is", async () => {
    const reply = await shake(`hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=${TOKEN}`);
    expect([reply.status, reply.text, reply.headers.get("content-type")]).toEqual([
      200,
      "1158201444",
      expect.stringMatching(/^text\/plain/),
    ]);
  });

  test.each([
    "hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong",
    `hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=${TOKEN}`,
    `hub.mode=subscribe&hub.verify_token=${TOKEN}`,
    "hub.challenge=1",
    "",
  ])("refuses %s", async (query) => {
    const reply = await shake(query);
    expect([reply.status, reply.headers.get("content-type")]).toEqual([403, "application/problem+json"]);
  });
});

test("without secrets: 401 for every delivery, 403 for every handshake", async () => {
  await using bare = await startTestApp();
  const reply = await deliver(received("text"), bare);
  expect([reply.status, reply.json.code]).toEqual([401, "webhook_not_configured"]);
  expect((await shake("hub.mode=subscribe&hub.challenge=1&hub.verify_token=", bare)).status).toBe(403);
});

test("every fixture, signed, is stored or quarantined as the adapter says", async () => {
  for (const name of fixtureNames) {
    const payload = readFixture(name);
    const { events, quarantined } = readWhatsappCloud(payload);
    const reply = await deliver(payload);
    expect([name, reply.status]).toEqual([name, 200]);
    expect(reply.json.accepted + reply.json.duplicates).toBe(events.length);
    expect(reply.json.quarantined).toBe(quarantined.length);
    const again = await deliver(payload);
    expect(again.json).toEqual({ accepted: 0, duplicates: events.length, quarantined: quarantined.length });
  }
  const totals = fixtureNames.map((name) => readWhatsappCloud(readFixture(name)).quarantined.length);
  const kept = await sql<{
    times: number;
  }>`select coalesce(sum(times), 0)::int as times from quarantined_events`.execute(app.context.db);
  expect(kept.rows[0]!.times).toBe(2 * totals.reduce((sum, count) => sum + count, 0));
});

test("one flipped byte, another secret, no signature: 401; the older secret works", async () => {
  const raw = Buffer.from(JSON.stringify(received("text", { id: "wamid.flip", text: { body: "hi" } })));
  const flipped = Buffer.from(raw);
  flipped[30]! ^= 1;
  for (const reply of [
    await deliverRaw(flipped, sign(raw)),
    await deliverRaw(raw, sign(raw, "secret-other")),
    await call(app.url, "POST", path, { raw }),
    await deliverRaw(raw, "sha256=00"),
  ])
    expect([reply.status, reply.json.code]).toEqual([401, "invalid_signature"]);
  const older = await deliverRaw(raw, sign(raw, "secret-old"));
  expect(older.json).toEqual({ accepted: 1, duplicates: 0, quarantined: 0 });
});

test("an unmapped number goes to its business account, a mapped one to its own", async () => {
  const from = (phone: string, id: string) =>
    webhook(
      "messages",
      {
        metadata: { display_phone_number: "1", phone_number_id: phone },
        messages: [{ id, from: "49", timestamp: "1749416383", type: "text", text: { body: "x" } }],
      },
      { id: "waba-routed" },
    );
  expect((await deliver(from("phone-unmapped", "r1"))).json.accepted).toBe(1);
  expect(await countEvents(app, "waba-routed")).toBe(1);
  await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body: { account_id: "tenant" } });
  await call(app.url, "PUT", "/analytics/channels/phone-mapped", {
    key: app.adminKey,
    body: { account_id: "tenant" },
  });
  expect((await deliver(from("phone-mapped", "r2"))).json.accepted).toBe(1);
  expect(await countEvents(app, "tenant")).toBe(1);
  expect(await countEvents(app, "waba-routed")).toBe(1);
});

test("the same delivery ten times in parallel is one row", async () => {
  const payload = webhook(
    "messages",
    {
      messages: [{ id: "once", from: "49", timestamp: "1749416383", type: "text", text: { body: "x" } }],
    },
    { id: "waba-parallel" },
  );
  const replies = await Promise.all(Array.from({ length: 10 }, () => deliver(payload)));
  expect(replies.map((reply) => reply.status)).toEqual(Array(10).fill(200));
  expect(await countEvents(app, "waba-parallel")).toBe(1);
});

test("signed content that is no webhook is quarantined, and counted when it comes again", async () => {
  for (const raw of [
    "{",
    "",
    "[]",
    "5",
    `"${"\ud83d".repeat(3)}"`,
    "[".repeat(100_000),
    Buffer.from([0xff, 0xfe]),
  ]) {
    const reply = await deliverRaw(raw);
    expect([reply.status, reply.json]).toEqual([200, { accepted: 0, duplicates: 0, quarantined: 1 }]);
  }
  await deliverRaw("{");
  const rows = (await quarantineRows()).filter((row) => row.account_id === "unmapped");
  expect(rows.map((row) => row.reason)).toContain("invalid_json");
  expect(rows.find((row) => row.reason === "invalid_json" && row.times === 2)).toBeDefined();
});

test("a time that lies too far ahead is quarantined", async () => {
  const soon = String(Math.floor(Date.now() / 1_000) + 2 * 86_400);
  const reply = await deliver(status("sent", { id: "wamid.ahead", timestamp: soon }));
  expect(reply.json).toEqual({ accepted: 0, duplicates: 0, quarantined: 1 });
  const [row] = (await quarantineRows()).filter(({ reason }) => reason === "time_out_of_range");
  expect(row).toMatchObject({ account_id: "waba-1", channel_id: "phone-1", kind: "message.sent" });
  expect(row!.payload).toMatchObject({ message_id: "wamid.ahead" });
});

test("bodies over 3 MB are refused; gzip is not read", async () => {
  const raw = " ".repeat(3_000_001);
  expect((await deliverRaw(raw)).status).toBe(413);
  const reply = await call(app.url, "POST", path, {
    raw: "{}",
    headers: { "content-encoding": "gzip", "x-hub-signature-256": sign("{}") },
  });
  expect(reply.status).toBe(415);
});

test("a quarantined payload over 16 KB is kept as a note", async () => {
  await deliver(webhook("some_new_field", { ids: Array.from({ length: 5_000 }, (_, i) => `id-${i}`) }));
  const row = (await quarantineRows()).find(({ kind }) => kind === "field:some_new_field");
  expect(row!.payload).toEqual({ note: "too large to keep", bytes: expect.any(Number) });
});

test("nothing that somebody wrote reaches the database", async () => {
  const canary = "CANARYtext";
  const writing = {
    text: { body: canary },
    image: { caption: canary, id: "i" },
    [`${canary} as a key`]: canary,
  };
  const item = (rest: object) => ({
    id: `wamid.${Math.random()}`,
    from: "49",
    timestamp: "1749416383",
    ...rest,
  });
  const payloads = [
    ...["text", "image", "unsupported", "brand_new", "system", "request_welcome"].map((type) =>
      received(type, { ...item({}), ...writing }),
    ),
    received("contacts", {
      contacts: [
        {
          name: { formatted_name: canary },
          org: { company: canary },
          phones: [{ phone: canary, wa_id: "49" }],
          emails: [{ email: canary }],
        },
      ],
    }),
    received("location", { location: { name: canary, address: canary } }),
    received("interactive", {
      interactive: {
        type: "nfm_reply",
        nfm_reply: { name: "flow", body: canary, response_json: JSON.stringify({ a: canary }) },
      },
    }),
    messaging({ messages: [{ ...writing, type: "text" }, canary, [canary], { id: 5, text: canary }] }),
    messaging({
      contacts: [{ wa_id: "49", profile: { name: canary } }],
      statuses: [{ status: "strange", note: canary }],
    }),
    messaging({ errors: [{ code: 1, title: canary, message: canary, error_data: { details: canary } }] }),
    webhook("calls", { calls: [{ id: "c", note: canary }] }),
    webhook("unheard_of", { anything: canary, deeper: [{ list: [canary, canary] }] }),
    webhook("messages", { ...writing }, { id: "0" }),
    { object: `a ${canary}`, entry: canary },
    canary,
  ];
  let kept = 0;
  for (const payload of payloads) {
    const reply = await deliver(payload);
    expect(reply.status).toBe(200);
    kept += reply.json.accepted + reply.json.quarantined;
  }
  await deliverRaw(`{"text":"${canary}`);
  expect(kept).toBeGreaterThan(15);
  expect((await dumpStored(app)).split("\n").filter((row) => row.includes(canary))).toEqual([]);
});
