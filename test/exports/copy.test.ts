import type { Transform } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import papaparse from "papaparse";
import pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Column } from "../../src/exports/columns.js";
import { crlfRows, csvCopySql, csvHead, csvLine } from "../../src/exports/csv.js";
import { jsonElements } from "../../src/exports/json.js";
import { countRows } from "../../src/exports/measure.js";
import { jsonCopySql } from "../../src/exports/ndjson.js";
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

async function copy(sql: string, ...through: Transform[]): Promise<string> {
  const source = client.query(copyTo(sql));
  const [result] = await Promise.all([
    buffer(through.at(-1) ?? source),
    through.length > 0 ? pipeline([source, ...through]) : undefined,
  ]);
  return result.toString("utf8");
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
    const rows = crlfRows();
    const body = await copy(csvCopySql(columns, FROM), rows);
    expect(csvHead(columns) + body).toBe(
      [
        "id,body,sent_at,amount,extra",
        "1,'=1+1,2025-12-31T18:14:59.999Z,1000,[-1]",
        '2,"say ""hi"", =1",2026-01-02T03:04:05.678Z,-1.50,"{""a"": ""=1""}"',
        "3,,,,",
        '4,"",,NaN,null',
        "",
      ].join("\r\n"),
    );
    expect(rows.rows()).toBe(4);
  });

  test("orders by the table's columns, not by the formatted ones of the same name", async () => {
    await client.query("INSERT INTO t (n, body) VALUES (9, 'nine'), (10, 'ten')");
    const byNumber: Column[] = [{ name: "n", sql: "n", type: "text" }];
    expect(await copy(csvCopySql(byNumber, "FROM t ORDER BY n"))).toBe("9\n10\n");
  });

  test("neutralises the corpus and nothing else", async () => {
    const bodies = [...dangerous, ...harmless];
    await insertBodies(bodies);
    const rows = parseCsv(await copy(csvCopySql(columns.slice(0, 2), FROM), crlfRows()));
    expect(rows.map(([, body]) => body)).toEqual([...dangerous.map((value) => `'${value}`), ...harmless]);
  });

  test("agrees with csvLine on every text, and with two parsers", async () => {
    const bodies = fc.array(fc.option(fc.oneof(storable, nasty)), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(bodies, async (values) => {
        await client.query("TRUNCATE t, back");
        await insertBodies(values);
        const file =
          csvHead(columns.slice(0, 2)) + (await copy(csvCopySql(columns.slice(0, 2), FROM), crlfRows()));
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
});

describe("JSON", () => {
  test("is written to the letter", async () => {
    await client.query(`INSERT INTO t VALUES
      (1, E'=1+1 "q" \\\\ \\n\\t\\x01\\x02', '2026-01-02T03:04:05.678901Z', -1.50, E'{"a":\\n  [1, "=x"]}'),
      (2, NULL, NULL, NULL, NULL)`);
    const counter = countRows();
    expect(await copy(jsonCopySql(columns, FROM), counter)).toBe(
      `${[
        String.raw`{"id":1,"body":"=1+1 \"q\" \\ \n\t\u0001\u0002","sent_at":"2026-01-02T03:04:05.678Z","amount":-1.50,"extra":{"a": [1, "=x"]}}`,
        `{"id":2,"body":null,"sent_at":null,"amount":null,"extra":null}`,
      ].join("\n")}\n`,
    );
    expect(counter.rows()).toBe(2);
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
        const sql = jsonCopySql([columns[1]!, columns[4]!], FROM);
        const lines = await copy(sql);
        const expected = values.map((body) => ({ body, extra: { k: body } }));
        expect(
          lines
            .split("\n")
            .slice(0, -1)
            .map((text) => JSON.parse(text)),
        ).toEqual(expected);
        expect(JSON.parse(`[${await copy(sql, jsonElements())}]`)).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });
});

test("an export without columns is refused", () => {
  expect(() => csvCopySql([], FROM)).toThrow("at least one column");
});

test("column names are quoted, never run", async () => {
  const odd: Column[] = [{ name: 'x" FROM t; DROP TABLE t; --', sql: "n", type: "integer" }];
  await insertBodies(["a"]);
  expect(JSON.parse(await copy(jsonCopySql(odd, FROM)))).toEqual({ [odd[0]!.name]: 1 });
});
