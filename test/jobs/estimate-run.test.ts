import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { templateDefinition } from "../../src/analytics/report-templates/definition.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertTemplate } from "../../src/db/queries/report-templates.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { estimateExport, estimateReport } from "../../src/jobs/estimate-run.js";
import { exportRequest, reportRequest } from "../../src/jobs/run-requests.js";
import { openWork, seedMessages, seedRange, type TestWork } from "../support/work.js";

/** What is told is that near to what is made, either way. */
const WITHIN = 2.5;
const ROWS = 20_000;
const range = { from: "2026-01-01T00:00:00Z", to: "2026-01-15T00:00:00Z" };

const { signal } = new AbortController();

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await ensureAccounts(test.db, ["shop", "other"]);
  await test.pool.query(
    `insert into messages (account_id, message_id, anchor_at, direction, channel_id, contact_id, chat_id, content_kind,
                           template, queued_at, sent_at, delivered_at, read_at, updated_at)
     select a, 'wamid.' || md5(n::text), t, 'outbound', 'c' || n % 3, (4915550000000 + n)::text, (4915550000000 + n)::text,
            'template', 'offer_' || n % 7, t, t, case when n % 10 > 0 then t + interval '2 s' end,
            case when n % 2 = 0 then t + interval '1 min' end, t
     from (select case when n % 4 = 0 then 'other' else 'shop' end as a, n,
                  '2026-01-01'::timestamptz + n * interval '1 min' as t from generate_series(0, ${ROWS} - 1) n) made`,
  );
  await test.pool.query("analyze messages");
});
afterAll(() => test.close());

const near = (told: number, made: number) => {
  expect(told).toBeGreaterThan(made / WITHIN);
  expect(told).toBeLessThan(made * WITHIN);
};

describe("an estimate is near what is made", () => {
  it.each([
    ["csv", "none"],
    ["csv", "gzip"],
    ["ndjson", "none"],
    ["json", "gzip"],
    ["xlsx", "none"],
  ])("as %s with compression %s", async (format, compression) => {
    const params = { account_id: "shop", dataset: "messages", format, compression, ...range };
    const told = await estimateExport(test.db, exportRequest.parse(params), signal);
    const key = await test.insertRun("export", "shop", params);
    await test.work(buildExport, key);
    const { artifact } = await test.run(key);
    near(told.rows, artifact!.rows);
    near(told.bytes, artifact!.bytes);
  });

  it("with few columns and a filter", async () => {
    const params = {
      ...{
        account_id: "shop",
        dataset: "messages",
        format: "csv",
        columns: ["message_id", "sent_at"],
        ...range,
      },
      filters: { template: ["offer_1"] },
    };
    const told = await estimateExport(test.db, exportRequest.parse(params), signal);
    const key = await test.insertRun("export", "shop", params);
    await test.work(buildExport, key);
    const { artifact } = await test.run(key);
    near(told.rows, artifact!.rows);
    near(told.bytes, artifact!.bytes);
  });

  it("of a list with columns and a filter of its template", async () => {
    const section = { kind: "rows", id: "some", dataset: "messages", columns: ["message_id", "sent_at"] };
    await insertTemplate(test.db, {
      ...{ accountId: "shop", name: "some", createdBy: "test" },
      definition: templateDefinition.parse({
        title: "Some",
        sections: [{ ...section, filters: { template: ["offer_1"] } }],
      }),
    });
    const params = { account_id: "shop", template: "some", format: "csv", ...range };
    const told = await estimateReport(test.db, reportRequest.parse(params));
    const key = await test.insertRun("report", "shop", params);
    await test.work(buildReport, key);
    const { artifact } = await test.run(key);
    near(told.rows, artifact!.rows);
    near(told.bytes, artifact!.bytes);
  });

  it("of a range without messages", async () => {
    const params = {
      account_id: "shop",
      dataset: "messages",
      format: "csv",
      from: range.to,
      to: "2026-03-01T00:00:00Z",
    };
    const told = await estimateExport(test.db, exportRequest.parse(params), signal);
    expect(told.rows).toBeLessThan(ROWS / 20);
  });

  it("of a summary", async () => {
    await seedMessages(test, "small");
    await test.pool.query("analyze messages");
    const params = {
      account_id: "small",
      template: "delivery-summary",
      format: "csv",
      interval: "day",
      ...seedRange,
    };
    const told = await estimateReport(test.db, reportRequest.parse(params));
    const key = await test.insertRun("report", "small", params);
    await test.work(buildReport, key);
    const { artifact } = await test.run(key);
    near(told.rows, artifact!.rows);
    near(told.bytes, artifact!.bytes);
  });
});
