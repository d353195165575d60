import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { parquetReadObjects } from "hyparquet";

export interface DuckDb extends AsyncDisposable {
  /** The rows that `sql` finds, where `FILE` stands for the name of a file of these bytes, in quotes. */
  ask(file: Buffer, sql: string): Promise<unknown[]>;
}

export async function openDuckDb(): Promise<DuckDb> {
  const folder = await mkdtemp(join(tmpdir(), "parquet-test-"));
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  await connection.run("SET TimeZone = 'Asia/Kathmandu'");
  let number = 0;
  return {
    async ask(file, sql) {
      const path = join(folder, `${number++}.parquet`);
      await writeFile(path, file);
      const result = await connection.runAndReadAll(sql.replaceAll("FILE", `'${path}'`));
      await rm(path);
      return result.getRowsJson();
    },
    async [Symbol.asyncDispose]() {
      connection.closeSync();
      instance.closeSync();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What Node has of it compresses the pages, too. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Uint8Array) => Uint8Array };

/** The rows of a file as another reader has them, one in JavaScript that shares no code with us or with DuckDB. */
export function readByHyparquet(file: Buffer): Promise<Record<string, unknown>[]> {
  const copy = new Uint8Array(file).buffer;
  return parquetReadObjects({
    file: copy,
    compressors: {
      GZIP: (bytes) => zlib.gunzipSync(bytes),
      ...(zstdDecompressSync && { ZSTD: zstdDecompressSync }),
    },
  });
}
