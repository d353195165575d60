import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { event, postEvents } from "../api/ingest-events.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const post = (raw: string | Uint8Array) =>
  call(app.url, "POST", "/analytics/events", {
    key: app.adminKey,
    raw,
    headers: { "content-type": "application/json" },
  });

describe("F29: bytes that are no plain JSON in UTF-8", () => {
  const good = JSON.stringify({ events: [event("utf")] });
  it.each([
    ["malformed UTF-8", Buffer.from(good.replace("utf", "\xff\xfe"), "latin1")],
    ["UTF-16", Buffer.from(good, "utf16le")],
    ["a byte order mark", Buffer.from(`\ufeff${good}`)],
  ])("F29: %s is refused with 400 invalid_json", async (_what, raw) => {
    const reply = await post(raw);
    expect([reply.status, reply.json.code]).toEqual([400, "invalid_json"]);
  });

  it.each(["9007199254740993", "-0", "1e400"])("F29: an id must be text, %s is rejected", async (number) => {
    const reply = await post(good.replace('"m-utf"', number));
    expect(reply.json).toMatchObject({ accepted: 0, rejected_total: 1 });
  });

  it.each([
    ["text_length", "9007199254740993", "invalid_value"],
    ["text_length", "1e400", "invalid_value"],
    ["text_length", "-0", undefined],
    ["error.code", "9007199254740993", "invalid_value"],
    ["error.code", "1e400", "invalid_value"],
    ["error.code", "-0", undefined],
  ])("F29: %s of %s is %s", async (field, number, code) => {
    const id = `${field} ${number}`;
    const list =
      field === "text_length" ? event(id, { text_length: 7 }) : event(id, { error: { code: 7 as never } });
    const reply = await post(JSON.stringify({ events: [list] }).replace(":7", () => `:${number}`));
    expect(reply.json.rejected.map((one: { code: string }) => one.code)).toEqual(code ? [code] : []);
    const stored = await app.context.pool.query(
      "select text_length, error_code from message_events where message_id = $1",
      [`m-${id}`],
    );
    // Minus nought is nought.
    const zero =
      field === "text_length" ? { text_length: 0, error_code: null } : { text_length: null, error_code: "0" };
    expect(stored.rows).toEqual(code ? [] : [zero]);
  });

  it("F29: of a key that is there twice the last one counts, as JSON.parse has it", async () => {
    const reply = await post(good.replace('"message_id"', '"message_id":"first","message_id"'));
    expect(reply.json).toMatchObject({ accepted: 1 });
    const rows = await app.context.pool.query(
      "select message_id from message_events where message_id in ('m-utf', 'first')",
    );
    expect(rows.rows).toEqual([{ message_id: "m-utf" }]);
  });
});

describe("F30: prototype pollution", () => {
  it.each(["__proto__", "constructor", "prototype"])(
    "F30: %s is refused or inert everywhere",
    async (name) => {
      const poison = `"${name}":{"polluted":true,"prototype":{"polluted":true}}`;
      const text = JSON.stringify({ events: [event(name)] });
      const inEvent = await post(text.replace('"account_id"', `${poison},"account_id"`));
      expect(inEvent.json).toMatchObject({ accepted: 0, rejected_total: 1 });
      expect((await post(`{${poison},"events":[]}`)).status).toBe(400);
      const query = await call(app.url, "GET", `/analytics/metrics?${name}[polluted]=1&filter[${name}]=1`, {
        key: app.adminKey,
      });
      expect(query.status).toBe(400);
      const report = await call(app.url, "POST", "/analytics/reports", {
        key: app.adminKey,
        raw: `{${poison},"filters":{${poison}}}`,
        headers: { "content-type": "application/json" },
      });
      expect(report.status).toBe(400);
      expect((await postEvents(app, [event(`after-${name}`)])).json.accepted).toBe(1);
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    },
  );
});
