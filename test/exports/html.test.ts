import fc from "fast-check";
import { parseFragment } from "parse5";
import { describe, expect, it } from "vitest";
import { barChart } from "../../src/exports/html/bar-chart.js";
import { secondTicks, shortened, ticks } from "../../src/exports/html/chart.js";
import { flowChart } from "../../src/exports/html/flow-chart.js";
import { heatmapChart } from "../../src/exports/html/heatmap-chart.js";
import { lineChart } from "../../src/exports/html/line-chart.js";
import { html } from "../../src/exports/html/markup.js";
import { changeText, numberText } from "../../src/exports/html/number-text.js";
import { attribute, elements, textOf } from "../support/report-cells.js";
import { scripts } from "./injection-corpus.js";

const anyText = fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(...scripts));
// biome-ignore lint/suspicious/noControlCharactersInRegex: what a page cannot hold
const forbidden = /[\0-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]/g;

describe("markup", () => {
  it("says any text as it is, in an element and in an attribute", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const { markup } = html`<p title="${text}">${[text, html`<b>${text}</b>`]}</p>`;
        const [p] = elements(parseFragment(markup), "p");
        const shown = text.toWellFormed().replace(forbidden, "\ufffd");
        expect([attribute(p!, "title"), textOf(p!)]).toEqual([shown, shown + shown]);
        expect(p!.attrs).toHaveLength(1);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a chart", () => {
  const said = { id: "c1", title: "A title", description: "What it shows" };
  const text = String;
  const charts = (name: string, values: (number | null)[]) => [
    lineChart({
      ...{ ...said, title: name, text, isSeconds: false },
      places: values.map(() => ({ long: name, short: name })),
      lines: [{ title: name, values }],
    }),
    barChart({ ...said, title: name, text, color: 1, bars: values.map((value) => ({ label: name, value })) }),
    heatmapChart({
      ...said,
      title: name,
      text,
      weekdays: Array(7).fill(name),
      values: Array.from({ length: 7 }, () => values),
    }),
    flowChart({
      ...{ ...said, title: name, text },
      nodes: values.map((value, index) => ({
        position: index + 1,
        id: name,
        label: name,
        size: Math.abs(value ?? 0) + 1,
        kind: "inbound",
      })),
      links: values.slice(1).map((_, index) => ({ position: index + 1, from: name, to: name, size: 1 })),
    }),
  ];

  it("is named, described, and of numbers only, whatever it shows", () => {
    const number = fc.oneof(fc.double({ min: 0, max: 1e12, noNaN: true }), fc.constant(null), fc.constant(0));
    fc.assert(
      fc.property(anyText, fc.array(number, { minLength: 1, maxLength: 24 }), (name, values) => {
        for (const { markup } of charts(name, values)) {
          const [svg, ...more] = parseFragment(markup).childNodes;
          expect([svg!.nodeName, more]).toEqual(["svg", []]);
          const [title] = elements(svg!, "title");
          expect(textOf(title!)).toBe(name.toWellFormed().replace(forbidden, "\ufffd"));
          expect(markup).not.toMatch(/="[^"]*(NaN|Infinity|undefined)/);
          expect(elements(svg!, "script")).toEqual([]);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("has round marks from 0 to its highest value", () => {
    expect([ticks(0), ticks(9), ticks(312), ticks(0.97)]).toEqual([
      [0, 1],
      [0, 2.5, 5, 7.5, 10],
      [0, 100, 200, 300, 400],
      [0, 0.25, 0.5, 0.75, 1],
    ]);
    expect([secondTicks(3), secondTicks(1_100), secondTicks(200_000)]).toEqual([
      [0, 1, 2, 3],
      [0, 300, 600, 900, 1_200],
      [0, 86_400, 172_800, 259_200].slice(0, 4),
    ]);
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e12, noNaN: true }), (max) => {
        for (const marks of [ticks(max), secondTicks(max)]) {
          expect(marks.at(-1)!).toBeGreaterThanOrEqual(max * (1 - 1e-6));
          expect(marks.length).toBeLessThan(9);
        }
      }),
    );
  });

  it("shortens names between characters", () => {
    expect([shortened("short", 5), shortened("longer name", 6), shortened("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", 2)]).toEqual([
      "short",
      "longe…",
      "👩‍👩‍👧…",
    ]);
    expect(shortened("e".repeat(5_000), 3)).toBe("ee…");
  });
});

describe("numbers", () => {
  const seconds = numberText("en", { style: "seconds", decimals: 2, grouping: true });
  it("are as people write them", () => {
    expect([0.123, 59.5, 60, 125, 3_600, 7_380, 172_800, 266_400].map(seconds)).toEqual([
      ...["0.12s", "59.5s", "1m", "2m 5s", "1h", "2h 3m", "2d", "3d 2h"],
    ]);
    const count = { style: "count", decimals: 0, grouping: true } as const;
    expect([numberText("en", count)(1_234_567), numberText("de", count)(1_234_567)]).toEqual([
      "1,234,567",
      "1.234.567",
    ]);
    expect(numberText("en", { ...count, grouping: false })(1_234)).toBe("1234");
    expect(numberText("en", { style: "percent", decimals: 1, grouping: false })(0.975)).toBe("97.5%");
    expect([changeText("en", false)(0.123), changeText("en", true)(-0.0123)]).toEqual(["+12.3%", "-1.2 pp"]);
  });
});
