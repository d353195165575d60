import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildReport } from "../../src/jobs/build-report.js";
import { readZip } from "../exports/zip.js";
import { openWork, seedMessages, seedRange, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await seedMessages(test, "shop");
});
afterAll(() => test.close());

/** Of a workbook, what its parts hold: how they are compressed depends on the version of Node. */
function digest(bytes: Buffer, format: string): string {
  const hash = createHash("sha256");
  if (format === "xlsx") for (const { name, text } of readZip(bytes)) hash.update(`${name}\n${text}\n`);
  else hash.update(bytes);
  return hash.digest("hex").slice(0, 16);
}

const ask = {
  template: "delivery-summary",
  group_by: ["channel_id", "template"],
  interval: "day",
  time_zone: "Europe/Berlin",
};

/** Programs read these files: another byte is another contract. */
it.each([
  ["csv", {}, "c3807ff46de402e2"],
  ["csv", { csv: { delimiter: ";", bom: true }, basis: "event", group_by: [] }, "da83dad40273e7bd"],
  ["json", {}, "5662b0deefe60eb7"],
  ["json", { json: { pretty: true }, filters: { channel_id: ["c0", null] } }, "dc2373e20cf68a51"],
  ["ndjson", { interval: "hour" }, "bc9b88a98f7957c0"],
  ["xlsx", {}, "7dd2202b92630dcc"],
  [
    "xlsx",
    { interval: "15m", group_by: ["error_class"], filters: { template: ["offer"] } },
    "6de8db19716c5b91",
  ],
])(
  "a delivery summary as %s, asked for with %j, has the bytes it always had",
  async (format, more, expected) => {
    const key = await test.insertRun("report", "shop", { ...seedRange, ...ask, format, ...more });
    await test.pool.query("update runs set created_at = '2025-04-01T12:00:00Z' where run_id = $1", [
      key.runId,
    ]);
    await test.work(buildReport, key);
    expect(digest(await test.file(key), format)).toBe(expected);
  },
);
