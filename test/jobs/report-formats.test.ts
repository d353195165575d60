import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { toMetricsQuery } from "../../src/analytics/metrics-query.js";
import { builtInTemplates } from "../../src/analytics/report-templates/built-in.js";
import { countRecords } from "../../src/cli/demo/records.js";
import { findAccount, queriedAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { buildReport } from "../../src/jobs/build-report.js";
import {
  asOnPage,
  cellsOfCsv,
  cellsOfDocument,
  cellsOfNdjson,
  cellsOfPage,
  cellsOfRows,
  cellsOfWorkbook,
  type ReportDocument,
} from "../support/report-cells.js";
import { openReports, type Reports, reportRange } from "../support/report-traffic.js";

let test: Reports;
beforeAll(async () => {
  test = await openReports(700);
});
afterAll(() => test.close());

const ofNumbers = builtInTemplates.filter(({ sections }) => sections[0]!.kind !== "rows");
const names = ofNumbers.map(({ name }) => name);
const dimensions = ["template", "channel_id"] as const;
const ask = { interval: "day", group_by: dimensions };

const textOf = async (template: string, format: string, more: object = {}) =>
  (await test.build({ ...ask, template, format, ...more })).bytes.toString();
const documentOf = async (template: string, more: object = {}): Promise<ReportDocument> =>
  JSON.parse(await textOf(template, "json", { json: { pretty: true }, ...more }));

/** Rows in the tables of a page, as the demo counts them. */
async function recordsOf(bytes: Buffer): Promise<number> {
  const file = join(test.artifactRoot, "page.html");
  await writeFile(file, bytes);
  return countRecords(file, "html");
}

describe("a built-in template", () => {
  it.each(names)("%s has the same numbers in every format", async (template) => {
    const cells = cellsOfRows(JSON.parse(await textOf(template, "json")));
    expect(cells.size).toBeGreaterThan(50);
    expect([...cells.values()].filter((value) => value)).not.toEqual([]);
    const left = [...cells.keys()].filter((key) => key.endsWith(" | rows_left_out"));
    const document = await documentOf(template);
    expect(cellsOfNdjson(await textOf(template, "ndjson"))).toEqual(cells);
    expect(cellsOfCsv(await textOf(template, "csv"))).toEqual(cells);
    for (const key of left) cells.delete(key);
    expect(cellsOfDocument(document)).toEqual(cells);
    const page = await test.build({ ...ask, template, format: "html" });
    expect(cellsOfPage(page.bytes.toString())).toEqual(asOnPage(cells, document));
    expect(await recordsOf(page.bytes)).toBe(page.run.artifact!.rows);
    if (template === "delivery-summary") return;
    const { bytes } = await test.build({ ...ask, template, format: "xlsx" });
    expect(cellsOfWorkbook(bytes, document)).toEqual(cells);
  });

  it.each(names)("%s has the numbers of the metrics", async (template) => {
    const account = queriedAccount((await findAccount(test.db, "shop"))!);
    const cells = cellsOfRows(JSON.parse(await textOf(template, "json")));
    const { sections } = ofNumbers.find(({ name }) => name === template)!;
    let compared = 0;
    for (const section of sections) {
      if (section.kind !== "table" || section.filters || section.limit || section.ratios === "of_all")
        continue;
      for (const group_by of section.group_by === "requested"
        ? dimensions.map((name) => [name])
        : [section.group_by ?? []]) {
        const fields = {
          ...{
            from: new Date(reportRange.from),
            to: new Date(reportRange.to),
            filters: {},
            time_zone: undefined,
          },
          ...{ basis: "cohort", groups: "exclude", responders: "human", clock: "first", hours: "elapsed" },
          ...{ metrics: section.metrics, group_by, interval: section.interval ? "day" : "all" },
        };
        const query = toMetricsQuery(fields as Parameters<typeof toMetricsQuery>[0], account);
        const answer = await readMetrics(test.db, planMetrics(query));
        const name = section.id.replace("{interval}", "day").replace("{dimension}", group_by[0] ?? "");
        for (const row of section.interval ? answer.rows : answer.totals) {
          if (section.unknown === "hide" && group_by.some((key) => row[key] === null)) continue;
          const values =
            group_by.length > 1 ? JSON.stringify(group_by.map((key) => row[key])) : row[group_by[0]!];
          for (const id of section.metrics) {
            const key = [name, section.interval ? row.bucket : "", values ?? "", id].join(" | ");
            expect([key, cells.get(key)]).toEqual([key, row[id]]);
            compared++;
          }
        }
      }
    }
    expect(compared).toBeGreaterThan(template === "executive-overview" ? 50 : 20);
  });

  it.each(names)("%s is the same, byte by byte, when it is built again", async (template) => {
    for (const format of ["csv", "xlsx", "html"]) {
      const first = await test.build({ ...ask, template, format });
      await test.pool.query("update runs set status = 'queued' where run_id = $1", [first.run.run_id]);
      const key = { accountId: "shop", runId: first.run.run_id, generation: first.run.generation };
      await test.work(buildReport, key, { now: () => new Date(Date.now() + 600_000) });
      const second = await test.run(key);
      expect([format, second.fence, second.artifact?.sha256]).toEqual([
        ...[format, first.run.fence + 1, first.run.artifact!.sha256],
      ]);
    }
  });
});

describe("a comparison", () => {
  it("has the figures of the period before, and what has changed", async () => {
    const document = await documentOf("executive-overview");
    const { rows } = document.sections.find(({ section }) => section === "delivery")!;
    const [current, previous, change] = rows;
    const before = await documentOf("executive-overview", {
      from: "2026-05-04T00:00:00Z",
      to: reportRange.from,
    });
    const [then] = before.sections.find(({ section }) => section === "delivery")!.rows;
    expect({ ...previous, period: "current" }).toEqual(then);
    const [now, was] = [current!, previous!] as Record<string, number>[];
    expect(now!.messages_sent).toBeGreaterThan(0);
    expect(change).toMatchObject({
      messages_sent: (now!.messages_sent! - was!.messages_sent!) / was!.messages_sent!,
      delivery_rate: now!.delivery_rate! - was!.delivery_rate!,
    });
  });
});

describe("what a report cannot tell", () => {
  it("is left out by name, in every format and in the run", async () => {
    const filters = { channel_id: ["shop-eu"] };
    const { run, bytes } = await test.build({ template: "executive-overview", format: "csv", filters });
    const left = [{ section: "contacts", code: "section_not_filtered" }];
    expect(run.result).toMatchObject({ left_out: left.map((one) => expect.objectContaining(one)) });
    expect(bytes.toString()).toContain(
      "\r\ncontacts,,left_out,active_contacts cannot be filtered by channel_id.,section_left_out,1\r\n",
    );
    const document = await documentOf("executive-overview", { filters });
    expect(document).toMatchObject({ left_out: [{ section: "contacts" }] });
    const page = await textOf("executive-overview", "html", { filters });
    expect(page).toContain(
      "The section contacts is left out: active_contacts cannot be filtered by channel_id.",
    );
    expect(cellsOfDocument(document).size).toBeGreaterThan(100);
  });

  it("is said by number where a section has a limit", async () => {
    const { run, bytes } = await test.build({ template: "conversation-flow", format: "csv" });
    const { sections } = run.result as { sections: { section: string; rows_left_out: number }[] };
    const links = sections.find(({ section }) => section === "flow_links")!;
    expect(links.rows_left_out).toBeGreaterThan(0);
    expect(bytes.toString()).toContain(
      `flow_links,,left_out,privacy: told from 5 conversations on,rows_left_out,${links.rows_left_out}\r\n`,
    );
  });

  it("fails the run by name when there is nothing to tell or the template is gone", async () => {
    const failed = async (params: Record<string, unknown>) => {
      const key = await test.insertRun("report", "shop", { ...reportRange, format: "csv", ...params });
      await expect(test.work(buildReport, key)).rejects.toThrow();
      return (await test.run(key)).error;
    };
    expect(await failed({ template: "nothing" })).toMatchObject({ code: "invalid_input" });
    expect(
      await failed({ template: "delivery-summary", interval: "15m", from: "2010-01-01T00:00:00Z" }),
    ).toMatchObject({
      message: expect.stringContaining("buckets"),
    });
  });
});

describe("a page", () => {
  it("is of the template's language, and of another if that is asked for", async () => {
    const english = await textOf("executive-overview", "html");
    const german = await textOf("executive-overview", "html", { locale: "de-DE" });
    expect(english).toMatch(/>[0-9.]+%</);
    expect(german).toMatch(/>[0-9]+,[0-9]\u00a0%</);
    expect(german).toContain("Mo");
    expect(cellsOfPage(german)).toEqual(cellsOfPage(english));
  });
});
