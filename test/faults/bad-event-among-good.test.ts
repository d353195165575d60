import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { countEvents, event, postLines } from "../api/ingest-events.js";
import { webhook } from "../sources/whatsapp-cloud-webhook.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { deliverSigned, WEBHOOK_SECRET } from "../support/signed-webhook.js";

const COUNT = 1_000;
const BAD = 500;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ env: { WHATSAPP_APP_SECRET: WEBHOOK_SECRET } });
});
afterAll(() => app.close());

let accounts = 0;
const newAccount = () => `bad-event-${++accounts}`;

const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const quoted = (text: string) => JSON.stringify(text);

/** JSON texts of good items, of which the one in the middle has another value in place of this text. */
const spoilt = (items: readonly unknown[], place: string, value: string) =>
  items.map((item, index) => {
    const text = JSON.stringify(item);
    return index === BAD ? text.replace(quoted(place), () => value) : text;
  });

describe("one bad event among 1,000 is rejected alone", () => {
  const MESSAGE = `m-${BAD}`;
  const TIME = event(0).occurred_at;
  const bad: [what: string, place: string, value: string, code: string][] = [
    ["200,000 levels", MESSAGE, nested(200_000), "too_deep"],
    ["160,000 objects", MESSAGE, `${'{"a":'.repeat(160_000)}1${"}".repeat(160_000)}`, "too_deep"],
    ["a text of 1 MB", MESSAGE, quoted("x".repeat(990_000)), "too_long"],
    ["NUL", MESSAGE, '"\\u0000"', "invalid_text"],
    ["a lone surrogate", MESSAGE, '"\\ud83d"', "invalid_text"],
    ["year 10000", TIME, '"+010000-01-01T00:00:00Z"', "invalid_value"],
    ["a negative time", TIME, "-1", "invalid_value"],
  ];
  const events = (account_id: string) => Array.from({ length: COUNT }, (_, i) => event(i, { account_id }));

  it.each(bad)("F26: %s, in JSON and in NDJSON", async (_what, place, value, code) => {
    const asJson = async (list: string[]) =>
      call(app.url, "POST", "/analytics/events", {
        key: app.adminKey,
        raw: `{"events":[${list.join()}]}`,
        headers: { "content-type": "application/json" },
      });
    const asLines = (list: string[]) => postLines(app, list.join("\n"));
    for (const send of [asJson, asLines]) {
      const account = newAccount();
      const { status, json } = await send(spoilt(events(account), place, value));
      expect([status, json.accepted]).toEqual([200, COUNT - 1]);
      expect(json.rejected).toEqual([{ index: BAD, code, message: expect.any(String) }]);
      expect(await countEvents(app, account)).toBe(COUNT - 1);
    }
  });

  it("F26: the deepest that is read is 64 levels, in the event alone", async () => {
    const account = newAccount();
    const send = (levels: number) =>
      call(app.url, "POST", "/analytics/events", {
        key: app.adminKey,
        raw: `{"events":[${JSON.stringify(event(1, { account_id: account })).replace('"m-1"', nested(levels))}]}`,
        headers: { "content-type": "application/json" },
      });
    expect((await send(63)).json.rejected[0].code).toBe("invalid_value");
    expect((await send(64)).json.rejected[0].code).toBe("too_deep");
  });
});

describe("one bad item in a delivery of 1,000 is quarantined alone", () => {
  const ID = `wamid.${BAD}`;
  const TIME = "1749416383";
  const bad: [what: string, place: string, value: string, reason: string][] = [
    ["200,000 levels", ID, nested(200_000), "missing_id"],
    ["an id of 1 MB", ID, quoted("x".repeat(1_000_000)), "invalid_event"],
    ["NUL", ID, '"\\u0000"', "invalid_event"],
    ["a lone surrogate", ID, '"\\ud83d"', "invalid_event"],
    ["year 10000", TIME, '"253402300800"', "bad_timestamp"],
    ["a negative time", TIME, "-1", "bad_timestamp"],
  ];
  const delivery = (account: string, statuses: readonly string[]) =>
    JSON.stringify(
      webhook("messages", { metadata: { phone_number_id: account }, statuses: ["here"] }, { id: account }),
    ).replace('"here"', () => statuses.join());
  const statuses = () =>
    Array.from({ length: COUNT }, (_, i) => ({
      id: `wamid.${i}`,
      status: "sent",
      timestamp: TIME,
      recipient_id: "49",
      extra: "unread",
    }));

  it.each(bad)("F26: %s", async (_what, place, value, reason) => {
    const account = newAccount();
    const reply = await deliverSigned(app.url, delivery(account, spoilt(statuses(), place, value)));
    expect([reply.status, reply.json]).toEqual([200, { accepted: COUNT - 1, duplicates: 0, quarantined: 1 }]);
    const kept = await app.context.pool.query(
      "select reason, kind, times from quarantined_events where account_id = $1",
      [account],
    );
    expect(kept.rows).toEqual([{ reason, kind: "status:sent", times: 1 }]);
  });

  it("F26: what is deep where nobody looks costs nothing", async () => {
    const raw = delivery(newAccount(), spoilt(statuses(), "unread", nested(200_000)));
    expect((await deliverSigned(app.url, raw)).json.accepted).toBe(COUNT);
  });

  it("F26: a delivery that is nothing but depth", async () => {
    const reply = await deliverSigned(app.url, nested(1_500_000));
    expect([reply.status, reply.json]).toEqual([200, { accepted: 0, duplicates: 0, quarantined: 1 }]);
  });
});
