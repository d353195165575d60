import * as xlsx from "@e965/xlsx";
import Papa from "papaparse";
import { parse as parseHtml, type DefaultTreeAdapterTypes as Tree } from "parse5";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { templateDefinition } from "../../src/analytics/report-templates/definition.js";
import { insertTemplate } from "../../src/db/queries/report-templates.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { dangerous, harmless, scripts, withoutGuard } from "../exports/injection-corpus.js";
import { readZip } from "../exports/zip.js";
import { attribute, elements, textOf } from "../support/report-cells.js";
import { foldAll, newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

const texts = [...new Set([...dangerous, ...harmless, ...scripts])].filter(
  (text) => text !== "" && !text.includes("\0"),
);
const range = { from: "2026-03-01T00:00:00Z", to: "2026-03-04T00:00:00Z" };
const metrics = ["messages_sent", "read_rate"];

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await storeEvents(
    test,
    texts.flatMap((text, index) => {
      const at = (second: number) =>
        new Date(Date.UTC(2026, 2, 1 + (index % 3), 9, index % 60, second)).toISOString();
      const facts = {
        template: text,
        channelId: text.slice(0, 200),
        chatId: `chat-${index % 7}`,
        contactId: text,
      };
      return [
        newEvent("shop", `m${index}`, "sent", at(0), facts),
        ...(index % 2 ? [newEvent("shop", `m${index}`, "read", at(9), facts)] : []),
      ];
    }),
  );
  await foldAll(test, "shop");
  const definition = templateDefinition.parse({
    title: scripts[1],
    description: scripts.slice(0, 8).join(" "),
    sections: [
      {
        kind: "comparison",
        id: "figures",
        title: scripts[9],
        metrics,
        titles: { messages_sent: scripts[4] },
      },
      ...[...dangerous.slice(0, 2), ...scripts.slice(0, 3)].map((title, index) => ({
        ...{ kind: "table", id: `one_${index}`, title, description: title, group_by: ["template"], metrics },
        ...{ order: { by: "messages_sent" }, limit: 10_000, titles: { read_rate: title } },
      })),
      { kind: "table", id: "both", group_by: ["template", "channel_id"], metrics },
      {
        kind: "table",
        id: "by_{interval}",
        interval: "requested",
        metrics,
        titles: { messages_sent: scripts[5] },
      },
      { kind: "heatmap", id: "hours", title: scripts[2], metric: "messages_sent" },
    ],
  });
  const made = await insertTemplate(test.db, {
    accountId: "shop",
    name: "hostile",
    definition,
    createdBy: "test",
  });
  expect(made).toMatchObject({ version: 1 });
});
afterAll(() => test.close());

async function build(format: string, more: object = {}): Promise<Buffer> {
  const params = { ...range, template: "hostile", template_version: 1, format, ...more };
  const key = await test.insertRun("report", "shop", params);
  await test.work(buildReport, key);
  return test.file(key);
}

const sorted = (list: Iterable<string>) => [...list].sort();

describe("F32: hostile names and titles in a report", () => {
  it("are the same texts in JSON and NDJSON", async () => {
    const rows = JSON.parse((await build("json")).toString()) as { section: string; value_of: string }[];
    const named = new Set(rows.filter(({ section }) => section === "one_0").map((row) => row.value_of));
    expect(sorted(named)).toEqual(sorted(texts));
    const lines = (await build("ndjson")).toString().trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(rows);
  });

  it("are no formula in CSV", async () => {
    const { data } = Papa.parse<string[]>((await build("csv")).toString(), {
      newline: "\r\n",
      skipEmptyLines: true,
    });
    const named = new Set(
      data.filter(([section]) => section === "one_0").map((row) => withoutGuard(row[3]!)),
    );
    expect(sorted(named)).toEqual(sorted(texts));
    for (const row of data.slice(1)) {
      for (const cell of row.slice(0, 5))
        expect(cell).not.toMatch(/^[\s\u200b-\u200d]*[=+\-@＝＋－＠]|^[\t\r\n]/u);
      expect(row[5] || "0").toMatch(/^-?\d+(\.\d+)?(e-?\d+)?$/);
    }
  });

  it("are text in a workbook, with no formula and no link", async () => {
    const bytes = await build("xlsx");
    for (const { name, text } of readZip(bytes)) {
      expect(name).not.toMatch(/externalLink|drawing|vbaProject|comments/i);
      if (name.startsWith("xl/worksheets/")) expect(text).not.toMatch(/<f[ >/]|<hyperlink/);
    }
    const book = xlsx.read(bytes, { cellFormula: true });
    const asSheetJs = (text: string) => text.replaceAll("\r\n", "\n").replaceAll("\r", "\n");
    for (const sheet of Object.values(book.Sheets))
      for (const [place, cell] of Object.entries(sheet))
        if (!place.startsWith("!")) expect([cell.f, cell.l]).toEqual([undefined, undefined]);
    const rows = xlsx.utils.sheet_to_json<unknown[]>(book.Sheets["one 0"]!, { header: 1 });
    expect(sorted(rows.slice(-texts.length).map(([name]) => asSheetJs(String(name))))).toEqual(
      sorted(texts.map(asSheetJs)),
    );
  });

  /** Everything that a page is made of; what could load or run is not among it. */
  const tags = new Set(
    (
      "html head meta title style body main header h1 h2 h3 p dl div dt dd aside ul li section svg desc g rect path line " +
      "circle text table caption thead tbody tr th td data time bdi span details summary footer b"
    ).split(" "),
  );
  const allElements = (node: Tree.Node): Tree.Element[] =>
    "childNodes" in node
      ? node.childNodes.flatMap((child) => [...("tagName" in child ? [child] : []), ...allElements(child)])
      : [];

  it.each(["hostile", "delivery-summary", "template-performance", "engagement-summary"])(
    "are text in the page of %s, which has nothing that loads or runs",
    async (template) => {
      const more = template === "hostile" ? {} : { template, template_version: undefined };
      const page = (await build("html", more)).toString();
      const document = parseHtml(page);
      const found = allElements(document);
      expect(found.length).toBeGreaterThan(100);
      expect(found.filter(({ tagName }) => !tags.has(tagName)).map(({ tagName }) => tagName)).toEqual([]);
      const attributes = found.flatMap((element) => element.attrs.map(({ name }) => name));
      expect(
        attributes.filter((name) => /^(on.*|style|href|src.*|xlink.*|action|formaction|data)$/.test(name)),
      ).toEqual([]);
      expect(elements(document, "style")).toHaveLength(1);
      expect(elements(document, "title").filter((one) => one.parentNode?.nodeName === "head")).toHaveLength(
        1,
      );
      const [policy] = elements(document, "meta").filter((one) => attribute(one, "http-equiv"));
      expect(attribute(policy!, "content")).toMatch(
        /^default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'$/,
      );
      // biome-ignore lint/suspicious/noControlCharactersInRegex: what a page cannot hold
      const shown = (text: string) => text.replace(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, "\ufffd");
      const named = new Set(elements(document, "th").map(textOf));
      for (const text of texts) expect(named).toContain(shown(text));
    },
  );
});
