import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { baileysEvents, baileysMeaningless, readBaileys } from "../../src/sources/baileys.js";
import { baileysAcks } from "../../src/sources/baileys-messages.js";
import { quarantineReasons } from "../../src/sources/source-batch.js";
import { readWaha, wahaEvents, wahaMeaningless } from "../../src/sources/waha.js";
import { wahaAcks } from "../../src/sources/waha-messages.js";
import { readWhatsappCloud, whatsappCloudFields } from "../../src/sources/whatsapp-cloud.js";
import { errorClasses } from "../../src/sources/whatsapp-cloud-errors.js";
import {
  readWhatsappWebJs,
  whatsappWebJsEvents,
  whatsappWebJsMeaningless,
} from "../../src/sources/whatsapp-web-js.js";
import { whatsappWebJsAcks } from "../../src/sources/whatsapp-web-js-messages.js";
import { onlyReasons } from "./web-sources.js";
import { messaging, webhook } from "./whatsapp-cloud-webhook.js";

const page = readFileSync(join(import.meta.dirname, "../../docs/sources.md"), "utf8");

/** The cells of the table under a heading, without its head. */
function tableUnder(heading: string): string[][] {
  const section = page.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`));
  const rows = (section ?? "").split("\n").filter((line) => line.startsWith("|"));
  return rows.slice(2).map((row) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
const codesIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);

describe("docs/sources.md", () => {
  it("lists every quarantine reason, and no other", () => {
    const listed = tableUnder("Quarantine").map(([reason]) => codesIn(reason!)[0]);
    expect(listed).toEqual([...quarantineReasons]);
  });

  it("lists every error class with its codes", () => {
    const listed = tableUnder("Classes of errors").map(([name, codes]) => [
      codesIn(name!)[0],
      codes!.split(", "),
    ]);
    expect(Object.fromEntries(listed)).toEqual(errorClasses);
  });

  const payloads = tableUnder("What becomes what");

  it("says of each webhook field what the code does with it", () => {
    const rowOf = (field: string) => payloads.filter(([payload]) => codesIn(payload!).includes(field));
    for (const field of whatsappCloudFields.meaningless)
      expect(rowOf(field).map(([, becomes]) => becomes)).toEqual(["quarantined `no_analytics_meaning`"]);
    for (const field of whatsappCloudFields.changes)
      expect(rowOf(field).map(([, becomes]) => codesIn(becomes!)[0])).toEqual([
        field.includes("template") ? "template.changed" : "channel.changed",
      ]);
    for (const field of whatsappCloudFields.lists)
      expect(
        payloads.some(([payload]) =>
          codesIn(payload!).some((code) => code === field || code === `${field}[]`),
        ),
      ).toBe(true);
  });

  it("names no field that the code does not know", () => {
    const known = new Set<string>(Object.values(whatsappCloudFields).flat());
    const [firstOfFields] = payloads.flatMap(([payload], at) =>
      payload!.includes("_status_update") ? [at] : [],
    );
    for (const [payload, becomes] of payloads.slice(firstOfFields)) {
      if (becomes!.includes("unknown_field") || becomes!.includes("dashboard_test")) continue;
      for (const field of codesIn(payload!)) expect(known.has(field) || field === "group_*").toBe(true);
    }
  });

  it("is right about fields, groups and what is unknown", () => {
    const reason = (field: string) => readWhatsappCloud(webhook(field, {})).quarantined[0]?.reason;
    for (const field of [...whatsappCloudFields.meaningless, "group_anything"])
      expect(reason(field)).toBe("no_analytics_meaning");
    expect(reason("anything")).toBe("unknown_field");
  });

  it("is right about each message type and status in its first rows", () => {
    const at = "1749416383";
    const [types] = payloads[0]!;
    for (const type of codesIn(types!).slice(1)) {
      const { events } = readWhatsappCloud(
        messaging({ messages: [{ id: "1", from: "2", timestamp: at, type }] }),
      );
      expect(events).toMatchObject([{ event: { type: "message.received", content_kind: type } }]);
    }
    const [names, becomes] = payloads.find(([payload]) => payload!.startsWith("`statuses[]`"))!;
    const results = codesIn(names!)
      .slice(1)
      .map(
        (status) =>
          readWhatsappCloud(messaging({ statuses: [{ id: "1", timestamp: at, status }] })).events[0],
      );
    expect(codesIn(becomes!).slice(0, results.length)).toEqual(results.map((result) => result?.event.type));
  });

  it("lists the numbers and names of the steps with each library", () => {
    const columns = [whatsappWebJsAcks, wahaAcks, baileysAcks];
    const listed = tableUnder("Steps of a message").flatMap(([type, ...cells]) =>
      cells.map((cell, column) => {
        const [number, name] = cell.split(", ");
        return [column, codesIn(type!)[0], Number(number), name === undefined ? [] : codesIn(name)];
      }),
    );
    const coded = columns.flatMap((acks, column) =>
      [...new Set(acks.values())].map((type) => {
        const keys = [...acks].filter(([, step]) => step === type).map(([key]) => key);
        return [column, type, keys[0], keys.slice(1)];
      }),
    );
    expect(new Set(listed.map(String))).toEqual(new Set(coded.map(String)));
    expect(listed).toHaveLength(coded.length);
  });

  it.each([
    ["whatsapp-web.js", readWhatsappWebJs, whatsappWebJsEvents, whatsappWebJsMeaningless],
    ["Baileys", readBaileys, baileysEvents, baileysMeaningless],
    ["WAHA", readWaha, wahaEvents, wahaMeaningless],
  ] as const)("says of each event of %s what the code does with it", (name, read, events, meaningless) => {
    const rows = tableUnder(`Events of ${name}`);
    const inFirstCells = rows.flatMap(([payload]) => codesIn(payload!));
    for (const event of events) expect(inFirstCells).toContain(event);
    const idle = rows.find(([payload]) => codesIn(payload!).includes(meaningless[0]!));
    expect(codesIn(idle![0]!)).toEqual(meaningless);
    expect(idle![1]).toBe("quarantined `no_analytics_meaning`");
    for (const event of meaningless)
      expect(onlyReasons(read, { event })).toEqual([`no_analytics_meaning event:${event}`]);
    expect(onlyReasons(read, { event: "novelty" })).toEqual(["unknown_event event:novelty"]);
  });
});
