import { expect, it } from "vitest";
import { received } from "../sources/whatsapp-cloud-webhook.js";
import { call, startTestApp } from "../support/app.js";
import { deliverSigned, WEBHOOK_SECRET } from "../support/signed-webhook.js";
import { foldAll } from "../support/work.js";

const DAY_MS = 86_400_000;
const ACCOUNT = "waba-1";

it("F24: a webhook ten times at once, and again after 8 days, is one row and counts once", async () => {
  let nowMs = Date.now();
  await using app = await startTestApp({
    env: { WHATSAPP_APP_SECRET: WEBHOOK_SECRET },
    now: () => new Date(nowMs),
  });
  const deliver = () => deliverSigned(app.url, received("text"));
  const fold = () => foldAll(app.context, ACCOUNT);
  const state = async () => {
    const rows = async (table: string) =>
      (await app.context.pool.query(`select * from ${table} order by 1, 2, 3`)).rows;
    return { messages: await rows("messages"), rollups: await rows("rollups") };
  };
  const counted = async () => {
    const range = "from=2025-06-01T00:00:00Z&to=2025-07-01T00:00:00Z&interval=month";
    const { json } = await call(
      app.url,
      "GET",
      `/analytics/metrics?account_id=${ACCOUNT}&metrics=messages_received&${range}`,
      { key: app.adminKey },
    );
    return json.rows.map((row: Record<string, unknown>) => row.messages_received);
  };

  const replies = await Promise.all(Array.from({ length: 10 }, deliver));
  await fold();
  const once = await state();
  expect(once.messages).toHaveLength(1);
  expect(await counted()).toEqual([1]);

  nowMs += 8 * DAY_MS;
  replies.push(await deliver());
  expect(replies.map(({ status }) => status)).toEqual(Array(11).fill(200));
  expect(replies.reduce((sum, { json }) => sum + json.accepted, 0)).toBe(1);
  expect(replies.at(-1)!.json).toMatchObject({ accepted: 0, duplicates: 1 });
  const { rows } = await app.context.pool.query("select 1 from message_events");
  expect(rows).toHaveLength(1);

  expect((await fold()).messages).toBe(0);
  expect(await state()).toEqual(once);
  expect(await counted()).toEqual([1]);
});
