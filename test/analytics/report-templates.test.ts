import fc from "fast-check";
import { DateTime } from "luxon";
import { describe, expect, it } from "vitest";
import { metrics } from "../../src/analytics/catalog.js";
import {
  builtInTemplates,
  findBuiltIn,
  renderBuiltInTemplates,
} from "../../src/analytics/report-templates/built-in.js";
import { templateDefinition, templateName } from "../../src/analytics/report-templates/definition.js";
import { messageColumnNames } from "../../src/analytics/report-templates/message-columns.js";
import {
  bothFilters,
  planSections,
  type Requested,
} from "../../src/analytics/report-templates/plan-sections.js";
import { previousRange } from "../../src/analytics/report-templates/previous-range.js";
import { messageColumns } from "../../src/db/datasets/messages.js";

const account = {
  accountId: "shop",
  timeZone: "Europe/Berlin",
  isAlwaysOpen: true,
  kept: { days: { zoneId: 1, timeZone: "Europe/Berlin" }, quartersFrom: undefined },
};
const requested = (more: Partial<Requested> = {}): Requested => ({
  from: new Date("2026-03-01T23:00:00Z"),
  to: new Date("2026-03-08T23:00:00Z"),
  interval: "day",
  basis: "cohort",
  groups: "exclude",
  responders: "human",
  clock: "first",
  hours: "elapsed",
  time_zone: undefined,
  group_by: ["template"],
  filters: {},
  ...more,
});

describe("the built-in templates", () => {
  it("have names of their own, and are data that JSON can hold and the schema takes", () => {
    const names = builtInTemplates.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, version, ...definition } of builtInTemplates) {
      expect(templateName.parse(name)).toBe(name);
      expect([version, templateDefinition.parse(JSON.parse(JSON.stringify(definition)))]).toEqual([
        undefined,
        definition,
      ]);
      expect(findBuiltIn(name)?.title).toBe(definition.title);
    }
  });

  it("leave nothing out of a week of local days", () => {
    for (const template of builtInTemplates.filter(({ name }) => name !== "message-log")) {
      const { sections, leftOut } = planSections(template, requested(), account);
      expect([template.name, leftOut]).toEqual([template.name, []]);
      expect(sections.map(({ title }) => title).join()).not.toMatch(/[{}]/);
    }
  });

  it("speak of columns that files have, in their order", () => {
    expect(messageColumns.map(({ name }) => name)).toEqual([...messageColumnNames]);
  });

  it("are described in one table each", () => {
    const text = renderBuiltInTemplates();
    for (const { name, sections } of builtInTemplates) {
      expect(text).toContain(`### \`${name}\``);
      for (const { id } of sections) expect(text).toContain(`| \`${id}\` |`);
    }
    for (const [, id] of text.matchAll(/`(messages_\w+)`/g))
      expect(metrics.map((one) => one.id)).toContain(id);
  });
});

describe("planning the sections of a report", () => {
  const template = (...sections: object[]) => templateDefinition.parse({ title: "x", sections });
  const table = { kind: "table", id: "a", metrics: ["messages_sent"] };

  it("puts what is asked for in its place, under names that no two have", () => {
    const made = template(
      { ...table, id: "by_day", title: "Days", interval: "day" },
      { ...table, id: "by_{interval}", title: "By {interval}", interval: "requested" },
      { ...table, id: "by_{dimension}", title: "By {dimension}", group_by: "requested" },
    );
    const { sections } = planSections(made, requested({ group_by: ["template", "campaign_id"] }), account);
    expect(sections.map(({ name, title }) => [name, title])).toEqual([
      ["by_day", "Days"],
      ["by_day_2", "By day"],
      ["by_template", "By template"],
      ["by_campaign_id", "By campaign"],
    ]);
  });

  it("leaves out what cannot be told, and throws where that is everything", () => {
    const made = template(
      table,
      { kind: "flow", id: "flow" },
      { ...table, id: "contacts", metrics: ["new_contacts"] },
    );
    const codes = (more: Partial<Requested>) =>
      planSections(made, requested(more), account).leftOut.map(({ section, code }) => [section, code]);
    expect(codes({})).toEqual([]);
    expect(codes({ filters: { channel_id: ["c1"] } })).toEqual([
      ["flow", "section_not_filtered"],
      ["contacts", "section_not_filtered"],
    ]);
    expect(codes({ from: new Date("2026-03-01T22:00:00Z") })).toEqual([
      ["flow", "not_a_local_day"],
      ["contacts", "not_on_period"],
    ]);
    expect(() =>
      planSections(
        template({ kind: "flow", id: "flow" }),
        requested({ filters: { template: ["a"] } }),
        account,
      ),
    ).toThrow("No section can be told: flow: Flows cannot be filtered by template.");
  });

  it("compares with nothing where nothing is kept", () => {
    const made = template({ kind: "comparison", id: "figures", metrics: ["messages_sent"] });
    const kept = { ...account.kept, daysFrom: "2026-03-02" };
    const [section] = planSections(made, requested(), { ...account, kept }).sections;
    expect(section).toMatchObject({ kind: "comparison", previous: undefined });
  });

  it("lets through what both filters do", () => {
    expect(
      bothFilters({ template: ["a", "b", null] }, { template: ["b", null, "c"], direction: ["outbound"] }),
    ).toEqual({
      template: ["b", null],
      direction: ["outbound"],
    });
    expect(bothFilters({ template: ["a"] }, { template: ["b"] })).toEqual({ template: [] });
  });
});

describe("the range before", () => {
  const zones = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Cairo",
  ];
  const local = (time: Date, zone: string) => DateTime.fromJSDate(time, { zone });

  it("of whole local days has as many whole local days, whatever the clock does", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: 0, max: 5_000 }),
        fc.integer({ min: 1, max: 400 }),
        (zone, start, days) => {
          const from = DateTime.fromISO("2012-01-01", { zone }).plus({ days: start }).startOf("day");
          const to = from.plus({ days }).startOf("day");
          const before = previousRange({ from: from.toJSDate(), to: to.toJSDate() }, zone)!;
          expect(before.to).toEqual(from.toJSDate());
          const first = local(before.from, zone);
          expect(first.toMillis()).toBe(first.startOf("day").toMillis());
          const dates = (a: DateTime, b: DateTime) =>
            (Date.parse(b.toISODate()!) - Date.parse(a.toISODate()!)) / 86_400_000;
          expect(dates(first, from)).toBe(dates(from, to));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("of anything else is as long as the range", () => {
    const range = { from: new Date("2026-03-29T00:15:00Z"), to: new Date("2026-03-29T04:00:00Z") };
    expect(previousRange(range, "Europe/Berlin")).toEqual({
      from: new Date("2026-03-28T20:30:00Z"),
      to: range.from,
    });
  });
});
