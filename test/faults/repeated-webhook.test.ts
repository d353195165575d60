import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { received } from "../sources/whatsapp-cloud-webhook.js";
import { call, startTestApp } from "../support/app.js";

const SECRET = "secret-of-meta";
const DAY_MS = 86_400_000;

it("F24: a webhook ten times at once, and again after 8 days, is one row", async () => {
  let nowMs = Date.now();
  await using app = await startTestApp({
    env: { WHATSAPP_APP_SECRET: SECRET },
    now: () => new Date(nowMs),
  });
  const raw = JSON.stringify(received("text"));
  const signature = `sha256=${createHmac("sha256", SECRET).update(raw).digest("hex")}`;
  const deliver = () =>
    call(app.url, "POST", "/analytics/sources/whatsapp-cloud", {
      raw,
      headers: { "content-type": "application/json", "x-hub-signature-256": signature },
    });
  const replies = await Promise.all(Array.from({ length: 10 }, deliver));
  nowMs += 8 * DAY_MS;
  replies.push(await deliver());
  expect(replies.map(({ status }) => status)).toEqual(Array(11).fill(200));
  expect(replies.reduce((sum, { json }) => sum + json.accepted, 0)).toBe(1);
  expect(replies.at(-1)!.json).toMatchObject({ accepted: 0, duplicates: 1 });
  const { rows } = await app.context.pool.query("select 1 from message_events");
  expect(rows).toHaveLength(1);
});
