import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyOut } from "../../src/db/copy-out.js";
import { binaryCopySql } from "../../src/exports/binary-copy.js";
import type { Column } from "../../src/exports/columns.js";
import { hasZstd } from "../../src/exports/compression.js";
import { parquetPart, parquetStream, partedParquet } from "../../src/exports/parquet/parquet.js";
import { createTestDatabase } from "../support/postgres.js";
import { binaryRows, int8 } from "./binary-rows.js";
import { chunked } from "./chunked.js";
import { dangerous, harmless } from "./injection-corpus.js";
import { type DuckDb, openDuckDb, readByHyparquet } from "./parquet-readers.js";

const columns: Column[] = [
  { name: "n", sql: "n", type: "integer" },
  { name: "text", sql: "body", type: "text" },
  { name: "kind", sql: "kind", type: "text" },
  { name: "time", sql: "at", type: "timestamp" },
  { name: "share", sql: "share", type: "number" },
  { name: "extra", sql: "extra", type: "json" },
];
const compressions = ["none", "gzip", ...(hasZstd ? (["zstd"] as const) : [])] as const;

let database: { url: string; drop(): Promise<void> };
let client: pg.Client;
let duckdb: DuckDb;
beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client(database.url);
  await client.connect();
  // Neither may show in a file.
  await client.query("SET TimeZone = 'Asia/Kathmandu'; SET extra_float_digits = 0");
  await client.query(
    "CREATE TEMP TABLE t (id serial, n bigint, body text, kind text, at timestamptz, share numeric, extra jsonb)",
  );
  duckdb = await openDuckDb();
});
afterAll(async () => {
  await duckdb?.[Symbol.asyncDispose]();
  await client?.end();
  await database?.drop();
});

interface Row {
  n: bigint | null;
  body: string | null;
  kind: string | null;
  /** In microseconds. */
  at: bigint | null;
  share: number | null;
}

async function insert(rows: readonly Row[]): Promise<void> {
  await client.query("TRUNCATE t RESTART IDENTITY");
  await client.query(
    `INSERT INTO t (n, body, kind, at, share, extra)
     SELECT n, body, kind, 'epoch'::timestamptz + us * interval '1 microsecond', share, to_jsonb(body)
     FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::float8[])
       WITH ORDINALITY AS u(n, body, kind, us, share, i) ORDER BY i`,
    [
      rows.map((row) => row.n),
      ...(["body", "kind", "at", "share"] as const).map((key) => rows.map((row) => row[key])),
    ],
  );
}

const copied = () => buffer(client.query(copyOut(binaryCopySql(columns, "FROM t ORDER BY id"))));

/** Everything as text, and text as its bytes: nobody's own idea of a number or a byte order mark comes in between. */
const asText = async (file: Buffer) =>
  duckdb.ask(
    file,
    "SELECT n::varchar, hex(text), kind, epoch_us(time)::varchar, share, hex(extra::varchar) FROM FILE",
  );

const hex = (sql: string) => `upper(encode(convert_to(${sql}, 'UTF8'), 'hex'))`;

async function truth(): Promise<unknown[][]> {
  const { rows } = await client.query({
    text: `SELECT n::text, ${hex("body")}, kind, (extract(epoch from at) * 1000000)::bigint::text, share::float8,
                  ${hex("extra::text")}
           FROM t ORDER BY id`,
    rowMode: "array",
  });
  return rows;
}

const YEAR_2009_US = BigInt(Date.UTC(2009, 0, 1)) * 1000n;
const YEAR_2100_US = BigInt(Date.UTC(2100, 0, 1)) * 1000n;
const storable = fc
  .oneof(fc.string({ unit: "binary" }), fc.constantFrom(...dangerous, ...harmless, "", "x".repeat(500)))
  .map((text) => text.replaceAll("\0", ""));
const row = fc.record({
  n: fc.option(
    fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -3n, max: 3n })),
  ),
  body: fc.option(storable),
  kind: fc.option(fc.constantFrom("sent", "read", "")),
  at: fc.option(
    fc.oneof(
      fc.bigInt({ min: YEAR_2009_US, max: YEAR_2100_US }),
      fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }),
    ),
  ),
  share: fc.option(fc.double({ noNaN: true, min: -1e300, max: 1e300 })),
});
/** As the other reader has it, whose decoder takes a byte order mark away. */
const decoded = (hexText: unknown): string | null =>
  hexText === null
    ? null
    : Buffer.from(hexText as string, "hex")
        .toString("utf8")
        .replace(/^\ufeff/, "");
const cuts = fc.array(fc.nat(200), { maxLength: 30 });

async function joined(
  sources: readonly Readable[],
  options: Parameters<typeof partedParquet>[0],
): Promise<Buffer> {
  const format = partedParquet(options);
  const parts = await Promise.all(
    sources.map(async (source) => {
      const part = format.part(source);
      const content = await buffer(part.bytes);
      const detail: unknown = JSON.parse(JSON.stringify(part.detail()));
      return { content, rows: part.rows(), bytes: content.length, detail };
    }),
  );
  const segments = format.join(parts);
  return Buffer.concat(segments.map((one) => ("inline" in one ? one.inline : parts[one.part]!.content)));
}

describe("a Parquet file", () => {
  test("holds what the database does, for two readers, whatever the rows and wherever their chunks end", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 60 }),
        cuts,
        fc.constantFrom(...compressions),
        async (rows, lengths, compression) => {
          await insert(rows);
          const bytes = await copied();
          const stream = parquetStream(Readable.from(chunked(bytes, lengths)), { columns, compression });
          const file = await buffer(stream.bytes);
          const expected = await truth();
          expect(stream.rows()).toBe(expected.length);
          expect(await asText(file)).toEqual(expected);
          if (compression === "zstd") return;
          const others = await readByHyparquet(file);
          expect(
            others.map((one) => [
              one.n === null ? null : String(one.n),
              one.text,
              one.kind,
              // It has milliseconds only.
              one.time === null ? null : (one.time as Date).getTime(),
              one.share,
              one.extra,
            ]),
          ).toEqual(
            expected.map(([n, text, kind, at, share, extra]) => [
              n,
              decoded(text),
              kind,
              at === null ? null : Math.trunc(Number(BigInt(at as string) / 1000n)),
              share,
              extra === null ? null : JSON.parse(decoded(extra)!),
            ]),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test("of parts has all rows in their order, and as one part is the streamed one", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(row, { maxLength: 20 }), { maxLength: 5 }),
        cuts,
        async (parts, lengths) => {
          const copies: Buffer[] = [];
          const expected: unknown[][] = [];
          for (const rows of parts) {
            await insert(rows);
            copies.push(await copied());
            expected.push(...(await truth()));
          }
          const options = { columns, compression: "gzip" } as const;
          const file = await joined(
            copies.map((bytes) => Readable.from(chunked(bytes, lengths))),
            options,
          );
          expect(await asText(file)).toEqual(expected);
          if (copies.length === 1) {
            const streamed = await buffer(parquetStream(Readable.from([copies[0]!]), options).bytes);
            expect(streamed.equals(file)).toBe(true);
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("has types that say what they mean, and knows who wrote it", async () => {
    await insert([]);
    const file = await buffer(parquetStream(Readable.from([await copied()]), { columns }).bytes);
    expect(
      await duckdb.ask(file, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM FILE)"),
    ).toEqual([
      ["n", "BIGINT"],
      ["text", "VARCHAR"],
      ["kind", "VARCHAR"],
      ["time", "TIMESTAMP WITH TIME ZONE"],
      ["share", "DOUBLE"],
      ["extra", "JSON"],
    ]);
    expect(
      await duckdb.ask(file, "SELECT num_rows, num_row_groups FROM parquet_file_metadata(FILE)"),
    ).toEqual([["0", "0"]]);
  });

  test("knows no infinite time", async () => {
    await client.query("TRUNCATE t");
    await client.query("INSERT INTO t (at) VALUES ('infinity'), ('-infinity')");
    const file = await buffer(parquetStream(Readable.from([await copied()]), { columns }).bytes);
    expect(await duckdb.ask(file, "SELECT time FROM FILE")).toEqual([[null], [null]]);
  });

  test("without a part has no rows", async () => {
    expect(await asText(await joined([], { columns }))).toEqual([]);
  });

  test("fails with the error of its rows, and of a time beyond what it can say", async () => {
    await insert([{ n: 1n, body: "a", kind: null, at: 0n, share: 1 }]);
    const broken = (await copied()).subarray(0, -2);
    await expect(buffer(parquetStream(Readable.from([broken]), { columns }).bytes)).rejects.toThrow(
      "broke off",
    );
    const late = binaryRows([[int8(2n ** 63n - 1n)]]);
    const options = { columns: [{ name: "time", type: "timestamp" }] } as const;
    await expect(buffer(parquetPart(Readable.from([late]), options).bytes)).rejects.toThrow("a time that");
  });
});

describe("row groups", () => {
  const ROWS = 75_000;
  const GROUP = 65_536;
  const wide: readonly Pick<Column, "name" | "type">[] = [
    { name: "n", type: "integer" },
    { name: "same", type: "text" },
    { name: "few", type: "text" },
    { name: "many", type: "text" },
    { name: "growing", type: "text" },
    { name: "rare", type: "text" },
    { name: "none", type: "text" },
  ];
  /** `growing` has few values at first and then always new ones: it begins with a dictionary and cannot keep it. */
  const valuesOf = (n: number) => [
    "same",
    `kind ${(n * n) % 300}`,
    `id ${n}`,
    `${n % GROUP < 20_000 ? n % 100 : n}`,
    n % 1000 === 0 ? "x" : null,
    null,
  ];
  const rowOf = (n: number) => [
    int8(n),
    ...valuesOf(n).map((text) => (text === null ? null : Buffer.from(text))),
  ];
  const rows = (from: number, to: number) =>
    binaryRows(Array.from({ length: to - from }, (_, i) => rowOf(from + i)));

  test("of many rows hold each of them, with dictionaries where they help, and the same bytes for any chunks", async () => {
    const bytes = rows(0, ROWS);
    const options = { columns: wide, compression: "gzip" } as const;
    const file = await buffer(parquetStream(Readable.from([bytes]), options).bytes);
    const pieces = chunked(bytes, [1, 50_000, 3, ...Array.from({ length: 60 }, () => 70_001)]);
    expect((await buffer(parquetStream(Readable.from(pieces), options).bytes)).equals(file)).toBe(true);

    const wrong = await duckdb.ask(
      file,
      `SELECT count(*) FROM (SELECT *, file_row_number AS i FROM read_parquet(FILE, file_row_number = true))
       WHERE n IS DISTINCT FROM i OR same <> 'same' OR few <> 'kind ' || (n * n) % 300 OR many <> 'id ' || n
         OR growing <> (CASE WHEN n % ${GROUP} < 20000 THEN n % 100 ELSE n END)::varchar
         OR rare IS DISTINCT FROM (CASE WHEN n % 1000 = 0 THEN 'x' END) OR "none" IS NOT NULL`,
    );
    expect(wrong).toEqual([["0"]]);
    const others = await readByHyparquet(file);
    expect(others).toHaveLength(ROWS);
    for (const n of [0, 19_999, 20_000, GROUP - 1, GROUP, ROWS - 1])
      expect(Object.values(others[n]!)).toEqual([BigInt(n), ...valuesOf(n)]);

    const chunks = await duckdb.ask(
      file,
      `SELECT path_in_schema, bool_and(encodings LIKE '%DICTIONARY%'), sum(num_values)::varchar,
              list(row_group_num_rows ORDER BY row_group_id)::varchar, sum(stats_null_count)::varchar
       FROM parquet_metadata(FILE) GROUP BY ALL ORDER BY min(column_id)`,
    );
    const groups = `[${[GROUP, ROWS - GROUP].join(", ")}]`;
    expect(chunks).toEqual(
      [
        ["n", false, 0],
        ["same", true, 0],
        ["few", true, 0],
        ["many", false, 0],
        ["growing", false, 0],
        ["rare", true, ROWS - ROWS / 1_000],
        ["none", false, ROWS],
      ].map(([name, hasDictionary, nulls]) => [name, hasDictionary, String(ROWS), groups, String(nulls)]),
    );
  });

  test("say the least and the greatest number, so that readers skip them", async () => {
    const numbers = [5n, -7n, 2n ** 40n, -(2n ** 63n), 2n ** 63n - 1n, -1n, null];
    for (let first = 0; first < numbers.length; first++) {
      const some = numbers.slice(first);
      const source = Readable.from([binaryRows(some.map((value) => [value === null ? null : int8(value)]))]);
      const file = await buffer(parquetStream(source, { columns: [{ name: "n", type: "integer" }] }).bytes);
      const known = some.filter((value) => value !== null).sort((a, b) => (a < b ? -1 : 1));
      expect(
        await duckdb.ask(file, "SELECT stats_min_value, stats_max_value FROM parquet_metadata(FILE)"),
      ).toEqual([[known[0]?.toString() ?? null, known.at(-1)?.toString() ?? null]]);
    }
  });

  test("are closed after 8 MB, and a long value is one value", async () => {
    const long = Buffer.alloc(5 * 2 ** 20, "long ");
    const source = Readable.from(
      chunked(binaryRows([[long], [long], [long], [null]]), [100, 65_536, 1_000_000]),
    );
    const file = await buffer(parquetStream(source, { columns: [{ name: "t", type: "text" }] }).bytes);
    expect(
      await duckdb.ask(file, "SELECT row_group_num_rows, stats_null_count FROM parquet_metadata(FILE)"),
    ).toEqual([
      ["2", "0"],
      ["2", "1"],
    ]);
    expect(
      await duckdb.ask(file, "SELECT length(t), md5(t) = md5(repeat('long ', 1048576)) FROM FILE"),
    ).toEqual([...Array.from({ length: 3 }, () => [String(long.length), true]), [null, null]]);
  });
});
