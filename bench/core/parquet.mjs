import { createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { DuckDBInstance } from "@duckdb/node-api";
import { fileWriter, ParquetWriter } from "hyparquet-writer";
import pg from "pg";
import { copyOut } from "../../dist/db/copy-out.js";
import { binaryCopySql } from "../../dist/exports/binary-copy.js";
import { parquetStream } from "../../dist/exports/parquet/parquet.js";
import { cpuSeconds, median, printBar, printFigure, startDatabase, timed } from "../support.mjs";
import { columns, fromMessages, seed } from "./export-rows.mjs";

const ROWS = 400_000;
const ROUNDS = 3;
/** What a cursor fetches at a time, and what makes a row group. */
const FETCHED = 100_000;

/** How fast rows become a Parquet file, compared with hyparquet-writer that is fed from a cursor, its defaults kept. */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const client = new pg.Client({ connectionString: database.url });
  const sides = { ours: writeOurs, peer: writeByHyparquet };
  const fileOf = (side) => join(dataDir, `${side}.parquet`);
  try {
    await client.connect();
    await seed(client, ROWS);
    const rounds = [];
    const cpu = { ours: 0, peer: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const rates = {};
      for (const side of round % 2 === 0 ? ["ours", "peer"] : ["peer", "ours"]) {
        const before = cpuSeconds(process.pid);
        rates[side] = ROWS / (await timed(() => sides[side](client, fileOf(side))));
        cpu[side] += cpuSeconds(process.pid) - before;
      }
      rounds.push(rates);
    }
    await compareFiles(fileOf("ours"), fileOf("peer"));
    printFigure("parquet_ours", median(rounds.map(({ ours }) => ours)), "rows/s");
    printFigure("parquet_hyparquet", median(rounds.map(({ peer }) => peer)), "rows/s");
    for (const side of Object.keys(sides)) {
      printFigure(`parquet_cpu_${side}`, (cpu[side] * 1e6) / (ROWS * ROUNDS), "us/row");
      printFigure(`parquet_size_${side}`, (await stat(fileOf(side))).size / ROWS, "bytes/row");
    }
    printBar("parquet_vs_hyparquet", median(rounds.map(({ ours, peer }) => ours / peer)), { bar: 6 });
  } finally {
    await client.end();
    await database.stop();
  }
}

async function writeOurs(client, file) {
  const source = client.query(copyOut(binaryCopySql(columns, fromMessages)));
  await pipeline(parquetStream(source, { columns }).bytes, createWriteStream(file));
}

async function writeByHyparquet(client, file) {
  const writer = new ParquetWriter({
    writer: fileWriter(file),
    schema: [
      { name: "root", num_children: columns.length },
      ...columns.map(({ name, type }) => ({
        name,
        repetition_type: "OPTIONAL",
        ...(type === "timestamp"
          ? { type: "INT64", converted_type: "TIMESTAMP_MILLIS" }
          : { type: "BYTE_ARRAY", converted_type: "UTF8" }),
      })),
    ],
  });
  const selected = columns.map(({ name, sql }) => `${sql} as ${name}`).join(", ");
  await client.query("begin");
  await client.query(`declare exported no scroll cursor for select ${selected} ${fromMessages}`);
  for (;;) {
    const { rows } = await client.query({ text: `fetch ${FETCHED} from exported`, rowMode: "array" });
    if (rows.length === 0) break;
    const columnData = columns.map(({ name }, i) => ({ name, data: rows.map((row) => row[i]) }));
    await writer.write({ columnData, rowGroupSize: FETCHED });
  }
  await client.query("commit");
  await writer.finish();
}

/** Throws unless both hold the same rows, by a reader that is neither's. */
async function compareFiles(...files) {
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  const [ours, peer] = files.map((file) => `from read_parquet('${file}')`);
  const sql = `select count(*) from (select * ${ours} except all select * ${peer}) union all select count(*) ${ours}`;
  const counts = (await connection.runAndReadAll(sql)).getRowsJson().flat();
  connection.closeSync();
  if (counts.join() !== `0,${ROWS}`) throw new Error(`the files differ: ${counts}`);
}
