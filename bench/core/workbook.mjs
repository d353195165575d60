import { execFile, spawnSync } from "node:child_process";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import excel from "exceljs";
import pg from "pg";
import { cpuSeconds, isInstalled, median, printBar, printFigure, startApiOnly, timed } from "../support.mjs";
import { columns, copyByPsql, download, fromMessages, seed } from "./export-rows.mjs";

const ROWS = 200_000;
const ROUNDS = 3;
/** What a cursor fetches at a time. */
const FETCHED = 2_000;

const XLSXWRITER = fileURLToPath(new URL("xlsxwriter-peer.py", import.meta.url));
/** Debian's, which knows Debian's python3-xlsxwriter, before any other. */
const python = ["/usr/bin/python3", "python3"].find(
  (program) => spawnSync(program, ["-c", "import xlsxwriter"]).status === 0,
);

/**
 * How fast rows become a workbook over HTTP, compared with exceljs' stream writer that is fed from a cursor, and with Python's
 * xlsxwriter in its mode of constant memory, which has them in a file already.
 */
export async function run(dataDir) {
  const service = await startApiOnly(dataDir);
  const control = new pg.Client({ connectionString: service.databaseUrl });
  const files = { ours: join(dataDir, "ours.xlsx"), peer: join(dataDir, "peer.xlsx") };
  try {
    await control.connect();
    await seed(control, ROWS);
    const rounds = [];
    const pids = { ours: service.pid, peer: process.pid };
    const cpuBefore = { ours: cpuSeconds(pids.ours), peer: cpuSeconds(pids.peer) };
    for (let round = 0; round < ROUNDS; round++) {
      const sides = {
        ours: () => download(service, "xlsx", files.ours),
        peer: () => writeByExceljs(control, files.peer),
      };
      const rates = {};
      for (const side of round % 2 === 0 ? ["ours", "peer"] : ["peer", "ours"])
        rates[side] = ROWS / (await timed(sides[side]));
      rounds.push(rates);
    }
    printFigure("workbook_http", median(rounds.map(({ ours }) => ours)), "rows/s");
    printFigure("workbook_exceljs", median(rounds.map(({ peer }) => peer)), "rows/s");
    for (const [side, file] of Object.entries(files)) {
      const seconds = cpuSeconds(pids[side]) - cpuBefore[side];
      printFigure(`workbook_cpu_${side}`, (seconds * 1e6) / (ROWS * ROUNDS), "us/row");
      printFigure(`workbook_size_${side}`, (await stat(file)).size / ROWS, "bytes/row");
    }
    if (python && isInstalled("psql")) {
      const csv = join(dataDir, "rows.csv");
      await copyByPsql(service.databaseUrl, csv, { sameText: true });
      const seconds = await timed(() => writeByXlsxwriter(csv, join(dataDir, "python.xlsx")));
      printFigure("workbook_xlsxwriter", ROWS / seconds, "rows/s");
      const ours = median(rounds.map(({ ours }) => ours));
      printBar("workbook_vs_xlsxwriter", (ours * seconds) / ROWS, { bar: 6 });
    } else console.log("SKIPPED workbook_vs_xlsxwriter: no psql, or no Python with xlsxwriter");
    printBar("workbook_vs_exceljs", median(rounds.map(({ ours, peer }) => ours / peer)), { bar: 6 });
  } finally {
    await control.end();
    await service.stop();
  }
}

const writeByXlsxwriter = (csv, file) => promisify(execFile)(python, [XLSXWRITER, csv, file]);

async function writeByExceljs(control, file) {
  const workbook = new excel.stream.xlsx.WorkbookWriter({ filename: file, useStyles: true });
  const sheet = workbook.addWorksheet("messages");
  sheet.columns = columns.map(({ name, type }) => ({
    header: name,
    key: name,
    ...(type === "timestamp" && { style: { numFmt: "yyyy-mm-dd hh:mm:ss" } }),
  }));
  const selected = columns.map(({ name, sql }) => `${sql} as ${name}`).join(", ");
  await control.query("begin");
  await control.query(`declare exported no scroll cursor for select ${selected} ${fromMessages}`);
  for (;;) {
    const { rows } = await control.query(`fetch ${FETCHED} from exported`);
    if (rows.length === 0) break;
    for (const row of rows) sheet.addRow(row).commit();
  }
  await control.query("commit");
  sheet.commit();
  await workbook.commit();
}
