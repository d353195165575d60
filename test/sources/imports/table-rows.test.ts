import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTime } from "../../../src/sources/imports/cells.js";
import { type CsvRow, csvRows } from "../../../src/sources/imports/csv-rows.js";
import type { ImportRow } from "../../../src/sources/imports/import-row.js";
import { type TableOptions, tableRows } from "../../../src/sources/imports/table-rows.js";
import { decodeText, detectEncoding, type Encoding } from "../../../src/sources/imports/text-encoding.js";
import { piecesOf } from "./chats.js";

async function listOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function* bytesOf(bytes: Buffer, size = 3): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const utf16be = (text: string) => Buffer.from(text, "utf16le").swap16();

describe("the encoding of a file", () => {
  it.each<[string, Buffer, Encoding]>([
    ["UTF-8 with a mark", Buffer.from("\ufeffa,ü🌿"), "utf-8"],
    ["UTF-8 without one", Buffer.from("a,ü🌿"), "utf-8"],
    ["UTF-16 LE", Buffer.from("\ufeffa,ü🌿", "utf16le"), "utf-16le"],
    ["UTF-16 BE", utf16be("\ufeffa,ü🌿"), "utf-16be"],
  ])("%s is found out, wherever the pieces end", async (_name, bytes, encoding) => {
    expect(await detectEncoding(bytesOf(bytes), undefined)).toBe(encoding);
    expect((await listOf(decodeText(bytesOf(bytes), encoding))).join("")).toBe("a,ü🌿");
  });

  it("is Windows-1252 when nothing else fits, and Latin-1 reads the same", async () => {
    const bytes = Buffer.from([0x61, 0x2c, 0xfc, 0x80]);
    expect(await detectEncoding(bytesOf(bytes), undefined)).toBe("windows-1252");
    for (const encoding of ["windows-1252", "iso-8859-1"] as const)
      expect((await listOf(decodeText(bytesOf(bytes), encoding))).join("")).toBe("a,ü€");
    await expect(detectEncoding(bytesOf(bytes), "utf-8")).rejects.toMatchObject({ code: "invalid_encoding" });
    expect(await detectEncoding(bytesOf(Buffer.from("a")), "utf-16le")).toBe("utf-16le");
    const cut = Buffer.from("ü").subarray(0, 1);
    expect(await detectEncoding(bytesOf(cut), undefined)).toBe("windows-1252");
  });
});

const cell = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.constantFrom('"', ",", ";", "a\nb", "a\r\nb", "\0", "=1", " x ", '""', "\t", "|"),
);

describe("CSV", () => {
  it("of any delimiter gives back what was written, wherever the pieces end", async () => {
    const tables = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        tables,
        fc.constantFrom(",", ";", "\t", "|"),
        fc.integer({ min: 1, max: 50 }),
        async (table, delimiter, size) => {
          const written = table
            .map((cells) => cells.map((text) => `"${text.replaceAll('"', '""')}"`).join(delimiter))
            .join("\r\n");
          const rows = await listOf(csvRows(piecesOf(written, size), delimiter));
          expect(rows).toEqual(table.map((cells, index): CsvRow => ({ row: index + 1, cells })));
        },
      ),
      { numRuns: 200 },
    );
  });

  it.each([",", ";", "\t", "|"])("finds out that the delimiter is %j", async (delimiter) => {
    const text = ["message_id,sent_at,template", '1,2026-03-01 09:00:00,"a; b, c"', "2,x,y"]
      .map((line) => (delimiter === "," ? line : line.replace(/"[^"]*"/, "t").replaceAll(",", delimiter)))
      .join("\n");
    const rows = await listOf(csvRows(piecesOf(text), undefined));
    expect(rows.map(({ cells }) => cells.length)).toEqual([3, 3, 3]);
  });

  it("finds it out of two columns and one row too", async () => {
    const rows = await listOf(csvRows(piecesOf("id;when\n1;2026-03-01 10:00\n"), undefined));
    expect(rows.map(({ cells }) => cells.length)).toEqual([2, 2]);
  });

  it("counts empty rows, leaves them out, and refuses a row that never ends", async () => {
    const rows = await listOf(csvRows(piecesOf("a,b\n\n1,2\n"), ","));
    expect(rows.map(({ row }) => row)).toEqual([1, 3]);
    const endless = `a,b\n"${"x,\n".repeat(400_000)}`;
    await expect(listOf(csvRows(piecesOf(endless, 65_536), ","))).rejects.toMatchObject({
      code: "row_too_long",
    });
  });

  it("ends when its reader leaves and fails with its source", async () => {
    for await (const { row } of csvRows(piecesOf("a,b\n".repeat(50_000)), ",")) if (row > 3) break;
    async function* broken() {
      yield "a,b\n1,2\n";
      throw new Error("the disk is gone");
    }
    await expect(listOf(csvRows(broken(), ","))).rejects.toThrow("the disk is gone");
  });
});

async function read(text: string, options: Partial<TableOptions> = {}): Promise<ImportRow[]> {
  return listOf(
    tableRows(piecesOf(text), {
      format: "messages",
      delimiter: undefined,
      map: {},
      channelId: undefined,
      timeZone: undefined,
      null: "",
      plain: (text) => text,
      onHeader: () => {},
      ...options,
    }),
  );
}

describe("a row of messages", () => {
  it("is an event for each stage; what is true of the message is in all of them", async () => {
    const [row] = await read(
      "Message-ID;SentAt;failed at;Error Code;Error title;Template;pricing category;Direction;tags\n" +
        'm1;2026-03-01 10:00;1772359260;131026;"undeliverable";offer;marketing;OUTBOUND;["a","b"]',
      { timeZone: "Europe/Berlin", channelId: "c1" },
    );
    const facts = {
      ...{ source: "import", channel_id: "c1", message_id: "m1", direction: "outbound", tags: ["a", "b"] },
      ...{ template: { name: "offer" }, pricing: { category: "marketing" } },
    };
    const error = { code: "131026", title: "undeliverable" };
    expect(row!.drafts).toEqual([
      { ...facts, type: "message.sent", occurred_at: "2026-03-01T09:00:00.000Z" },
      { ...facts, type: "message.failed", occurred_at: "2026-03-01T10:01:00.000Z", error },
    ]);
  });

  it("that cannot be read says where and why, all of it at once", async () => {
    const rows = await read(
      "message_id,sent_at,read_at,pricing_billable\nm,2026-02-30T09:00:00Z,2026-03-01 09:00,maybe\nm2,,,\nm3,,,,x",
    );
    expect(
      rows.map(({ row, problems }) => [row, ...problems.map(({ field, code }) => `${field} ${code}`)]),
    ).toEqual([
      [2, "sent_at invalid_time", "read_at missing_time_zone", "pricing_billable invalid_value"],
      [3, " no_stage"],
      [4, " too_many_cells"],
    ]);
  });
});

describe("the header", () => {
  it("can be mapped, which comes before names; what means nothing is named", async () => {
    let ignored: readonly string[] = [];
    const rows = await read("id,Message ID,when,sent_at\na,b,2026-03-01T09:00:00Z,no\n", {
      map: { message_id: "id", sent_at: "when" },
      onHeader: (header) => {
        ignored = header.ignored;
      },
    });
    expect(rows[0]!.drafts).toMatchObject([{ message_id: "a", occurred_at: "2026-03-01T09:00:00.000Z" }]);
    expect(ignored).toEqual(["Message ID", "sent_at"]);
  });

  it.each([
    ["unknown_header", { map: { message_id: "nope" } }],
    ["missing_columns", { format: "events" as const }],
  ])("is refused with %s", async (code, options) => {
    await expect(read("message_id,sent_at\n", options)).rejects.toMatchObject({ code });
  });
});

describe("a time", () => {
  it.each([
    ["2026-03-01T09:00:00.120Z", "2026-03-01T09:00:00.120Z"],
    ["2026-03-01 09:00:00,5 +02", "2026-03-01T07:00:00.500Z"],
    ["2026-03-01t09:00-0530", "2026-03-01T14:30:00.000Z"],
    ["2026-03-01 09:00:00.123456+01:00", "2026-03-01T08:00:00.123Z"],
    ["1772355600", "2026-03-01T09:00:00.000Z"],
    ["1772355600007", "2026-03-01T09:00:00.007Z"],
  ])("%s is %s", (text, value) => {
    expect(readTime(text, undefined)).toEqual({ value });
  });

  it.each(["01.03.2026 09:00", "2026-03-01", "2026-13-01 09:00Z", "2026-03-01 24:00Z", "soon"])(
    "%s is none",
    (text) => {
      expect(readTime(text, "UTC")).toMatchObject({ problem: { code: "invalid_time" } });
    },
  );
});
