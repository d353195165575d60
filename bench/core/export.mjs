import { stat } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { isInstalled, median, printBar, printFigure, ROUNDS, startApiOnly, timed } from "../support.mjs";
import { copyByPsql, download, seed } from "./export-rows.mjs";

const ROWS = 1_000_000;
/** How fast rows leave over HTTP, compared with psql writing the result of the same SELECT to a file, instants in the form that is the cheapest for it. */
export async function run(dataDir) {
  if (!isInstalled("psql")) return console.log("SKIPPED export_vs_psql: psql is not installed");
  const service = await startApiOnly(dataDir);
  const control = new pg.Client({ connectionString: service.databaseUrl });
  try {
    await control.connect();
    await seed(control, ROWS);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const sides = {
        http: () => download(service, "csv", httpFile(dataDir)),
        psql: () => copyByPsql(service.databaseUrl, psqlFile(dataDir)),
      };
      const rates = {};
      for (const side of round % 2 === 0 ? ["http", "psql"] : ["psql", "http"])
        rates[side] = ROWS / (await timed(sides[side]));
      rounds.push(rates);
    }
    await copyByPsql(service.databaseUrl, psqlFile(dataDir), { sameText: true });
    await compareFiles(dataDir);
    printFigure("export_http_csv", median(rounds.map(({ http }) => http)), "rows/s");
    printFigure("export_psql_copy", median(rounds.map(({ psql }) => psql)), "rows/s");
    printBar("export_http_vs_psql", median(rounds.map(({ http, psql }) => http / psql)), { bar: 0.7 });
  } finally {
    await control.end();
    await service.stop();
  }
}

const httpFile = (dataDir) => join(dataDir, "http.csv");
const psqlFile = (dataDir) => join(dataDir, "psql.csv");

/** Both wrote the same rows: ours ends each with CR LF, psql with LF. */
async function compareFiles(dataDir) {
  const [http, psql] = await Promise.all([stat(httpFile(dataDir)), stat(psqlFile(dataDir))]);
  if (http.size !== psql.size + ROWS + 1)
    throw new Error(`files differ: ${http.size} and ${psql.size} bytes`);
}
