import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReadSource } from "../../src/sources/canonical-event.js";
import { at, fixtureNamesOf, fixtureOf, receivedAt, webSources } from "../sources/web-sources.js";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";
import { foldAll } from "../support/work.js";
import { countEvents, dumpStored, scopedKey } from "./ingest-events.js";

const GATEWAY_MS = (at + 500) * 1_000;
const VECTOR_KEY = "my-secret-key";
let app: TestApp;
/** One whose WAHA signs. */
let signing: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  signing = await startTestApp({ env: { WAHA_HMAC_KEY: `older-secret-key, ${VECTOR_KEY}` } });
});
afterAll(async () => {
  await app.close();
  await signing.close();
});

const pathOf = (source: string, query = "") => `/analytics/sources/${source}${query}`;
const deliver = (source: string, payload: unknown, options: { key?: string; query?: string } = {}) =>
  call(app.url, "POST", pathOf(source, options.query), {
    key: options.key ?? app.adminKey,
    raw: typeof payload === "string" ? payload : JSON.stringify(payload),
  });
const admin = (method: string, path: string, body: unknown) =>
  call(app.url, method, path, { key: app.adminKey, body });
const makeAccount = (account_id: string) => admin("POST", "/analytics/accounts", { account_id });
const mapChannel = (channel: string, account_id: string) =>
  admin("PUT", `/analytics/channels/${channel}`, { account_id });

/** A message as each source tells of it, from `session`. */
const messageOf: Record<string, (session: string, id: string) => unknown> = {
  "whatsapp-web-js": (session, id) => ({
    session,
    event: "message",
    args: [{ id: { _serialized: `false_49@c.us_${id}` }, type: "chat", body: "x", timestamp: at }],
  }),
  baileys: (session, id) => ({
    session,
    events: {
      "messages.upsert": {
        messages: [
          {
            key: { remoteJid: "49@s.whatsapp.net", id },
            messageTimestamp: at,
            message: { conversation: "x" },
          },
        ],
      },
    },
  }),
  waha: (session, id) => ({
    session,
    event: "message",
    payload: { id: `false_49@c.us_${id}`, from: "49@c.us", timestamp: at, body: "x" },
  }),
};
const stored = (count: number) => ({ accepted: count, duplicates: 0, quarantined: 0 });
const aside = (count: number) => ({ accepted: 0, duplicates: 0, quarantined: count });
const quarantinedIn = (account: string) =>
  app.context.db.selectFrom("quarantined_events").selectAll().where("account_id", "=", account).execute();

describe.each(Object.keys(webSources))("%s", (source) => {
  const read: ReadSource = webSources[source]!;
  const message = messageOf[source]!;

  test("every fixture is stored or quarantined as the adapter says, and once", async () => {
    const query = `?account_id=fixtures-${source}`;
    for (const name of fixtureNamesOf(source)) {
      // With a time of the gateway: without any, a step that comes again has come at another time.
      const payload = { timestamp: GATEWAY_MS, ...(fixtureOf(source, name) as object) };
      const { events, quarantined } = read(payload, receivedAt);
      const first = await deliver(source, payload, { query });
      expect([name, first.status]).toEqual([name, 200]);
      expect(first.json.accepted + first.json.duplicates).toBe(events.length);
      expect(first.json.quarantined).toBe(quarantined.length);
      const again = await deliver(source, payload, { query });
      expect(again.json).toEqual({ accepted: 0, duplicates: events.length, quarantined: quarantined.length });
    }
    expect(await countEvents(app, `fixtures-${source}`)).toBeGreaterThan(5);
  });

  test("the same delivery ten times in parallel is one row", async () => {
    const query = `?account_id=parallel-${source}`;
    const payload = message("any", "once");
    const replies = await Promise.all(Array.from({ length: 10 }, () => deliver(source, payload, { query })));
    expect(replies.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(await countEvents(app, `parallel-${source}`)).toBe(1);
  });

  test("goes to the account of its session, else to the one asked for", async () => {
    const tenant = `tenant-${source}`;
    await makeAccount(tenant);
    await mapChannel(`mapped-${source}`, tenant);
    const query = `?account_id=asked-${source}`;
    expect((await deliver(source, message(`mapped-${source}`, "1"), { query })).json).toEqual(stored(1));
    expect((await deliver(source, message(`free-${source}`, "2"), { query })).json).toEqual(stored(1));
    expect(await countEvents(app, tenant)).toBe(1);
    expect(await countEvents(app, `asked-${source}`)).toBe(1);
  });

  test("belongs to nobody when neither says", async () => {
    const reply = await deliver(source, message(`nobody-${source}`, "1"));
    expect([reply.status, reply.json]).toEqual([200, aside(1)]);
    const rows = (await quarantinedIn("unmapped")).filter((row) => row.channel_id === `nobody-${source}`);
    expect(rows).toMatchObject([{ reason: "unmapped_channel", kind: "message.received", times: 1 }]);
    expect(await countEvents(app, "unmapped")).toBe(0);
  });

  test("a key writes to its own accounts only", async () => {
    const [own, other] = [`own-${source}`, `other-${source}`];
    await makeAccount(own);
    await makeAccount(other);
    await mapChannel(`theirs-${source}`, other);
    const key = await scopedKey(app, [own]);
    expect((await deliver(source, message(`free-${source}`, "1"), { key })).json).toEqual(stored(1));
    for (const query of ["", `?account_id=${own}`])
      expect((await deliver(source, message(`theirs-${source}`, "2"), { key, query })).json).toEqual(
        aside(1),
      );
    const foreign = await deliver(source, message("any", "3"), { key, query: `?account_id=${other}` });
    expect([foreign.status, foreign.json.code]).toEqual([404, "account_not_found"]);
    expect([await countEvents(app, own), await countEvents(app, other)]).toEqual([1, 0]);
    expect(await quarantinedIn(other)).toEqual([]);
    expect(await quarantinedIn(own)).toMatchObject([{ reason: "foreign_channel", times: 2 }]);
  });

  test("a key of two accounts has to say which", async () => {
    const [first, second] = [`first-${source}`, `second-${source}`];
    await makeAccount(first);
    await makeAccount(second);
    const key = await scopedKey(app, [first, second]);
    expect((await deliver(source, message(`two-${source}`, "1"), { key })).json).toEqual(aside(1));
    const asked = { key, query: `?account_id=${second}` };
    expect((await deliver(source, message(`two-${source}`, "1"), asked)).json).toEqual(stored(1));
    expect(await countEvents(app, second)).toBe(1);
  });

  test("needs a key that may write, and no unknown parameter", async () => {
    const payload = message("any", "1");
    const { status } = await call(app.url, "POST", pathOf(source), { raw: JSON.stringify(payload) });
    expect(status).toBe(401);
    const made = await admin("POST", "/analytics/keys", { name: "viewer", role: "viewer" });
    expect((await deliver(source, payload, { key: made.json.key })).status).toBe(403);
    const unknown = await deliver(source, payload, { query: "?acount_id=x" });
    expect([unknown.status, unknown.json.errors[0].path]).toEqual([400, "acount_id"]);
  });

  test("content is never answered with an error; a body over 3 MB is refused", async () => {
    const query = `?account_id=content-${source}`;
    for (const raw of ["{", "", "[]", "5", "null", "[".repeat(100_000), '{"event":"novelty"}'])
      expect((await deliver(source, raw, { query })).json).toEqual(aside(1));
    expect((await deliver(source, " ".repeat(3_000_001), { query })).status).toBe(413);
    const reasons = (await quarantinedIn(`content-${source}`)).map(({ reason }) => reason);
    expect(new Set(reasons)).toEqual(new Set(["invalid_json", "not_an_event", "unknown_event"]));
  });
});

test("a time that lies too far ahead is quarantined", async () => {
  const ahead = Math.floor(Date.now() / 1_000) + 2 * 86_400;
  const payload = {
    event: "message",
    payload: { id: "false_49@c.us_ahead", from: "49@c.us", timestamp: ahead },
  };
  expect((await deliver("waha", payload, { query: "?account_id=ahead" })).json).toEqual(aside(1));
  expect(await quarantinedIn("ahead")).toMatchObject([{ reason: "time_out_of_range" }]);
});

test("message and message.any, and message and message_create, are one event", async () => {
  const query = "?account_id=pairs";
  const waha = (event: string) => ({
    ...(messageOf.waha!("s", "pair") as object),
    event,
    id: `evt_${event}`,
  });
  const webJs = (event: string) => ({ ...(messageOf["whatsapp-web-js"]!("s", "pair2") as object), event });
  const send = async (source: string, payload: unknown) =>
    (await deliver(source, payload, { query })).json as { accepted: number };
  expect((await send("waha", waha("message"))).accepted).toBe(1);
  expect((await send("waha", waha("message.any"))).accepted).toBe(0);
  expect((await send("whatsapp-web-js", webJs("message"))).accepted).toBe(1);
  expect((await send("whatsapp-web-js", webJs("message_create"))).accepted).toBe(0);
  expect(await countEvents(app, "pairs")).toBe(2);
});

test.each([
  ["whatsapp-web-js", { event: "message_ack", args: [{ id: { _serialized: "true_49@c.us_a" } }, 2] }],
  [
    "baileys",
    {
      event: "messages.update",
      data: [{ key: { remoteJid: "49@c.us", id: "a", fromMe: true }, update: { status: 3 } }],
    },
  ],
  ["waha", { event: "message.ack", payload: { id: "true_49@c.us_a", fromMe: true, ack: 2 } }],
])(
  "%s: a step that comes again is known by its time, and counts once without one too",
  async (source, step) => {
    const account = `steps-${source}`;
    const send = async (payload: object) =>
      (await deliver(source, payload, { query: `?account_id=${account}` })).json as { accepted: number };
    const delivered = async () => {
      await foldAll(app.context, account);
      const { rows } = await app.context.pool.query<{ delivered_at: Date }>(
        "select delivered_at from messages where account_id = $1",
        [account],
      );
      return rows.map((row) => row.delivered_at.getTime());
    };
    await send(step);
    const [first, ...others] = await delivered();
    expect(others).toEqual([]);
    await send(step);
    expect(await delivered()).toEqual([first]);

    const timed = { ...step, timestamp: GATEWAY_MS };
    expect((await send(timed)).accepted).toBe(1);
    expect((await send(timed)).accepted).toBe(0);
    expect(await delivered()).toEqual([GATEWAY_MS]);
  },
);

describe("a signed delivery of WAHA", () => {
  const sign = (raw: string, key = VECTOR_KEY) => createHmac("sha512", key).update(raw).digest("hex");
  const post = (raw: string, headers: Record<string, string>, query = "?account_id=signed"): Promise<Reply> =>
    call(signing.url, "POST", pathOf("waha", query), { raw, headers });
  const vector = '{"event":"message","session":"default","engine":"WEBJS"}';

  test("is taken with any of the keys; the documented vector too", async () => {
    const raw = JSON.stringify(messageOf.waha!("default", "signed"));
    const header = { "x-webhook-hmac": sign(raw), "x-webhook-hmac-algorithm": "sha512" };
    expect((await post(raw, header)).json).toEqual(stored(1));
    const older = await post(raw, { "x-webhook-hmac": sign(raw, "older-secret-key") });
    expect(older.json).toEqual({ accepted: 0, duplicates: 1, quarantined: 0 });
    expect(sign(vector)).toMatch(/^208f8a55/);
    expect((await post(vector, { "x-webhook-hmac": sign(vector) })).json).toEqual(aside(1));
    expect((await post(raw, header, "")).json).toEqual(aside(1));
  });

  test("is refused with 401 when the signature is wrong or missing, an API key or not", async () => {
    for (const headers of [
      {},
      { authorization: `Bearer ${signing.adminKey}` },
      { "x-webhook-hmac": sign(`${vector} `) },
      { "x-webhook-hmac": sign(vector, "another-key") },
      { "x-webhook-hmac": sign(vector), "x-webhook-hmac-algorithm": "sha256" },
    ]) {
      const reply = await post(vector, headers as Record<string, string>);
      expect([reply.status, reply.json.code]).toEqual([401, "invalid_signature"]);
    }
  });

  test("is not inflated", async () => {
    const headers = { "content-encoding": "gzip", "x-webhook-hmac": sign(vector) };
    expect((await post(vector, headers)).status).toBe(415);
  });
});

test("nothing that somebody wrote and no secret reaches the database", async () => {
  const canary = "CANARYtext";
  const secret = "CANARYsecret";
  const body = { body: canary, caption: canary, text: canary, url: secret, apikey: secret, mediaKey: secret };
  const webJs = (event: string, ...args: unknown[]) =>
    ["whatsapp-web-js", { session: "s", event, args }] as const;
  const id = { _serialized: "false_49@c.us_canary" };
  const key = { remoteJid: "49@s.whatsapp.net", id: "canary" };
  const baileys = (event: string, data: unknown) => ["baileys", { session: "s", event, data }] as const;
  const waha = (event: string, payload: unknown, rest: object = {}) =>
    ["waha", { session: "s", event, payload, ...rest }] as const;
  const payloads = [
    webJs("message", { id, type: "chat", timestamp: at, ...body, _data: body }),
    webJs("message", { ...body, notifyName: canary }),
    webJs("message_edit", { id, ...body }, canary, canary),
    webJs("message_ack", { id: { _serialized: "true_49@c.us_c" }, ...body }, 99),
    webJs("qr", secret),
    webJs("authenticated", { token: secret }),
    webJs("pairing", secret, { code: secret }),
    baileys("creds.update", { id: secret, account: secret, noiseKey: { private: { type: secret } } }),
    baileys("connection.update", { qr: secret, code: secret }),
    baileys("novelty", { code: secret, id: secret }),
    baileys("messages.upsert", {
      messages: [
        { key, messageTimestamp: at, pushName: canary, message: { imageMessage: body } },
        { key, messageTimestamp: "x", pushName: canary, message: { conversation: canary } },
        { key: {}, message: { conversation: canary }, pushName: canary },
        canary,
      ],
    }),
    waha("message", { id: "false_49@c.us_w", timestamp: at, ...body }, { me: { pushName: canary } }),
    waha("message", { ...body, media: { url: secret }, _data: body }),
    waha("session.status", { code: secret, id: secret }),
    waha("novelty", { code: secret, id: secret }, { apiKey: secret }),
  ];
  for (const [source, payload] of payloads)
    expect((await deliver(source, payload, { query: "?account_id=canary" })).status).toBe(200);
  await deliver("baileys", `{"text":"${canary}`, { query: "?account_id=canary" });
  expect((await quarantinedIn("canary")).length).toBeGreaterThan(10);
  expect((await dumpStored(app)).split("\n").filter((row) => row.includes("CANARY"))).toEqual([]);
});
