import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import papaparse from "papaparse";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { copyOut } from "../../src/db/copy-out.js";
import { binaryCopySql } from "../../src/exports/binary-copy.js";
import type { Column } from "../../src/exports/columns.js";
import { csvDelimiters, csvLine, csvNulls, defaultCsv } from "../../src/exports/csv.js";
import { type TextOptions, textFile } from "../../src/exports/text-file.js";
import { createTestDatabase } from "../support/postgres.js";
import { dangerous, harmless } from "./injection-corpus.js";

const columns: Column[] = [
  { name: "id", sql: "n", type: "integer" },
  { name: "body", sql: "t.body", type: "text" },
  { name: "sent_at", sql: "t.sent_at", type: "timestamp" },
  { name: "amount", sql: "t.amount", type: "number" },
  { name: "extra", sql: "t.extra", type: "json" },
];
const FROM = "FROM t WHERE n > 0 ORDER BY n";

let database: { url: string; drop(): Promise<void> };
let client: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client(database.url);
  await client.connect();
  // Neither the session's zone nor its date style may show in a file.
  await client.query("SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German'");
  await client.query(
    "CREATE TEMP TABLE t (n bigint, body text, sent_at timestamptz, amount numeric, extra json)",
  );
  await client.query("CREATE TEMP TABLE back (n bigint, body text)");
});

afterAll(async () => {
  await client?.end();
  await database?.drop();
});

beforeEach(async () => {
  await client.query("TRUNCATE t, back");
});

async function written(options: TextOptions, from = FROM): Promise<{ file: string; rows: number }> {
  const { bytes, rows } = textFile(client.query(copyOut(binaryCopySql(options.columns, from))), options);
  return { file: (await buffer(bytes)).toString("utf8"), rows: rows() };
}

const insertBodies = (bodies: readonly (string | null)[]) =>
  client.query(
    "INSERT INTO t (n, body) SELECT ordinality, body FROM unnest($1::text[]) WITH ORDINALITY AS u(body)",
    [bodies],
  );

const parseCsv = (text: string): string[][] => {
  const { data, errors } = papaparse.parse<string[]>(text, { delimiter: ",", newline: "\r\n" });
  expect(errors).toEqual([]);
  expect(data.pop()).toEqual([""]);
  return data;
};

/** A well-formed text that Postgres can store. */
const storable = fc.string({ unit: "binary" }).map((value) => value.replaceAll("\0", ""));
const nasty = fc.string({
  unit: fc.constantFrom(
    '"',
    "'",
    "\\",
    ",",
    "\n",
    "\r",
    "\t",
    " ",
    "=",
    "-",
    "x",
    "\u0001",
    "\u0002",
    "\u2028",
    "\ufeff",
    "😀",
    "é",
  ),
});

describe("CSV", () => {
  test("is written to the letter", async () => {
    await client.query(`INSERT INTO t VALUES
      (2, 'say "hi", =1', '2026-01-02T03:04:05.678901Z', -1.50, '{"a": "=1"}'),
      (-1, 'not selected', NULL, NULL, NULL),
      (1, '=1+1', '2025-12-31T23:59:59.9999+05:45', 1e3, '[-1]'),
      (3, NULL, NULL, NULL, NULL),
      (4, '', 'infinity', 'NaN', 'null')`);
    const { file, rows } = await written({ format: "csv", columns });
    expect(file).toBe(
      [
        "id,body,sent_at,amount,extra",
        "1,'=1+1,2025-12-31T18:14:59.999Z,1000,[-1]",
        '2,"say ""hi"", =1",2026-01-02T03:04:05.678Z,-1.5,"{""a"": ""=1""}"',
        "3,,,,",
        '4,"",,,null',
        "",
      ].join("\r\n"),
    );
    expect(rows).toBe(4);
  });

  test("orders by the table's columns, not by the written ones of the same name", async () => {
    await client.query("INSERT INTO t (n, body) VALUES (9, 'nine'), (10, 'ten')");
    const byNumber: Column[] = [{ name: "n", sql: "n::text", type: "text" }];
    const { file } = await written({ format: "csv", columns: byNumber }, "FROM t ORDER BY n");
    expect(file).toBe("n\r\n9\r\n10\r\n");
  });

  test("neutralises the corpus and nothing else", async () => {
    const bodies = [...dangerous, ...harmless];
    await insertBodies(bodies);
    const [, ...rows] = parseCsv((await written({ format: "csv", columns: columns.slice(0, 2) })).file);
    expect(rows.map(([, body]) => body)).toEqual([...dangerous.map((value) => `'${value}`), ...harmless]);
  });

  test("agrees with csvLine on every text, and with two parsers", async () => {
    const bodies = fc.array(fc.option(fc.oneof(storable, nasty)), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(bodies, async (values) => {
        await client.query("TRUNCATE t, back");
        await insertBodies(values);
        const { file } = await written({ format: "csv", columns: columns.slice(0, 2) });
        const byHand = values.map((value, i) => csvLine([i + 1, value], ["integer", "text"])).join("");
        const [, ...rows] = parseCsv(file);
        expect(rows).toEqual(parseCsv(`h\r\n${byHand}`).slice(1));

        const target = client.query(copyFrom("COPY back FROM STDIN (FORMAT csv, HEADER)"));
        await pipeline([file], target);
        const back = await client.query<{ body: string | null }>("SELECT body FROM back ORDER BY n");
        expect(back.rows.map(({ body }) => body ?? "")).toEqual(rows.map(([, body]) => body));
        expect(back.rows.map(({ body }) => body === null)).toEqual(values.map((value) => value === null));
      }),
      { numRuns: 60 },
    );
  });

  test("is to the byte what csvLine writes, whatever the options", async () => {
    const csv = fc.record({
      delimiter: fc.constantFrom(...csvDelimiters),
      null: fc.constantFrom(...csvNulls),
      formula_guard: fc.boolean(),
      bom: fc.constant(false),
      header: fc.constant(false),
    });
    const one = fc.oneof(storable, nasty, fc.constantFrom(...dangerous, ...harmless, ...csvDelimiters));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(one), { maxLength: 40 }), csv, async (values, options) => {
        await client.query("TRUNCATE t");
        await insertBodies(values);
        const { file } = await written({ format: "csv", columns: [columns[1]!], csv: options });
        expect(file).toBe(values.map((value) => csvLine([value], ["text"], options)).join(""));
      }),
      { numRuns: 100 },
    );
  });

  test("alone in its line, the text that ends COPY is a value", async () => {
    await insertBodies(["a", "\\.", "b"]);
    const csv = { ...defaultCsv, header: false };
    const { file } = await written({ format: "csv", columns: [columns[1]!], csv });
    const target = client.query(copyFrom("COPY back (body) FROM STDIN (FORMAT csv)"));
    await pipeline([file], target);
    const back = await client.query<{ body: string }>("SELECT body FROM back");
    expect(back.rows.map(({ body }) => body)).toEqual(["a", "\\.", "b"]);
  });
});

describe("values", () => {
  test("of every time that RFC 3339 can write are PostgreSQL's own, to the millisecond", async () => {
    const FIRST = Date.parse("0001-01-01T00:00:00Z");
    const microseconds = fc.tuple(
      fc.oneof(
        fc.integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2026, 0, 3) }),
        fc.integer({ min: FIRST, max: Date.UTC(9999, 11, 31) }),
      ),
      fc.integer({ min: 0, max: 999 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(microseconds, { minLength: 1, maxLength: 50 }), async (times) => {
        await client.query("TRUNCATE t");
        await client.query(
          `INSERT INTO t (n, sent_at)
           SELECT o, '1970-01-01Z'::timestamptz + (ms / 1000) * interval '1 s' + (ms % 1000) * interval '1 ms' + us * interval '1 us'
           FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY u(ms, us, o)`,
          [times.map(([ms]) => ms), times.map(([, us]) => us)],
        );
        const { rows } = await client.query<{ text: string | null }>(
          `SELECT to_char(sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS text FROM t ORDER BY n`,
        );
        const { file } = await written({ format: "ndjson", columns: [columns[2]!] });
        const found = file
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line).sent_at);
        expect(found).toEqual(rows.map((row) => row.text));
      }),
      { numRuns: 40 },
    );
  });

  test("of whole numbers are exact to the last digit, and those of others are what a double holds", async () => {
    const whole = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.bigInt({ min: -3n, max: 3n }),
      fc.bigInt({ min: 2n ** 32n - 3n, max: 2n ** 32n + 3n }),
    );
    const double = fc.double({ noNaN: false });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(whole, double), { minLength: 1 }), async (pairs) => {
        const [bigs, doubles] = [pairs.map(([big]) => String(big)), pairs.map(([, value]) => String(value))];
        const both: Column[] = [
          { name: "big", sql: "u.big", type: "integer" },
          { name: "double", sql: "u.double", type: "number" },
        ];
        const array = (values: string[], type: string) => `'{${values.join(",")}}'::${type}[]`;
        const from = `FROM unnest(${array(bigs, "bigint")}, ${array(doubles, "float8")}) WITH ORDINALITY u(big, double, o) ORDER BY o`;
        const { file } = await written(
          { format: "csv", columns: both, csv: { ...defaultCsv, header: false } },
          from,
        );
        expect(file.trimEnd().split("\r\n")).toEqual(
          pairs.map(([big, value]) => `${big},${Number.isFinite(value) ? value : ""}`),
        );
        const json = await written({ format: "json", columns: both }, from);
        expect(JSON.parse(json.file).map((row: { double: unknown }) => row.double)).toEqual(
          pairs.map(([, value]) => (Number.isFinite(value) ? (Object.is(value, -0) ? 0 : value) : null)),
        );
      }),
    );
  });

  test("that come in one piece of a megabyte are written whole", async () => {
    const long = 'a"\u0001\n'.repeat(300_000);
    await insertBodies([long, "b"]);
    const { file } = await written({ format: "ndjson", columns: columns.slice(0, 2) });
    expect(
      file === `${JSON.stringify({ id: 1, body: long })}\n${JSON.stringify({ id: 2, body: "b" })}\n`,
    ).toBe(true);
  });
});

describe("JSON", () => {
  test("is written to the letter", async () => {
    await client.query(`INSERT INTO t VALUES
      (1, E'=1+1 "q" \\\\ \\n\\t\\x01\\x02', '2026-01-02T03:04:05.678901Z', -1.50, E'{"a":\\n  [1, "=x"]}'),
      (2, NULL, NULL, NULL, NULL)`);
    const { file, rows } = await written({ format: "ndjson", columns });
    expect(file).toBe(
      `${[
        String.raw`{"id":1,"body":"=1+1 \"q\" \\ \n\t\u0001\u0002","sent_at":"2026-01-02T03:04:05.678Z","amount":-1.5,"extra":{"a": [1, "=x"]}}`,
        `{"id":2,"body":null,"sent_at":null,"amount":null,"extra":null}`,
      ].join("\n")}\n`,
    );
    expect(rows).toBe(2);
  });

  test("holds every text unchanged, one object a line and as one array", async () => {
    const bodies = fc.array(
      fc.option(fc.oneof(storable, nasty, fc.constantFrom(...dangerous, ...harmless))),
      {
        maxLength: 40,
      },
    );
    await fc.assert(
      fc.asyncProperty(bodies, async (values) => {
        await client.query("TRUNCATE t");
        await insertBodies(values);
        await client.query("UPDATE t SET extra = json_build_object('k', body)");
        const two = [columns[1]!, columns[4]!];
        const expected = values.map((body) => ({ body, extra: { k: body } }));
        const { file } = await written({ format: "ndjson", columns: two });
        expect(
          file
            .split("\n")
            .slice(0, -1)
            .map((line) => JSON.parse(line)),
        ).toEqual(expected);
        expect(JSON.parse((await written({ format: "json", columns: two })).file)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });
});

test("an export without columns is refused", () => {
  expect(() => binaryCopySql([], FROM)).toThrow("at least one column");
});

test("column names are quoted, never run", async () => {
  const odd: Column[] = [{ name: 'x" FROM t; DROP TABLE t; --', sql: "n", type: "integer" }];
  await insertBodies(["a"]);
  expect(JSON.parse((await written({ format: "ndjson", columns: odd })).file)).toEqual({ [odd[0]!.name]: 1 });
});
