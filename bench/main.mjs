import { parseArgs } from "node:util";
import { temporaryFolder } from "./support.mjs";

/**
 * Families of benches: `npm run bench` runs `core`, `npm run bench -- NAME` another one or, as `core/fold`, one of its
 * benches, `-- --all` every one.
 */
const families = {
  core: [
    "ingest",
    "fold",
    "visible-delay",
    "export",
    "export-job",
    "export-parallel",
    "export-scale",
    "workbook",
    "parquet",
    "empty-reports",
    "fairness",
    "killed-worker",
    "soak",
  ],
  analytics: ["year", "serving"],
};

async function main() {
  const { values, positionals } = parseArgs({
    options: { all: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  // npm takes `npm run bench -- -- all` and `-- --all` for different things: both mean everything here.
  const all = values.all || positionals.includes("all");
  const names = all ? Object.keys(families) : positionals.length > 0 ? positionals : ["core"];
  const known = Object.entries(families).flatMap(([family, benches]) =>
    benches.map((bench) => `${family}/${bench}`),
  );
  const chosen = names.flatMap((name) => {
    const found = known.filter((bench) => bench === name || bench.startsWith(`${name}/`));
    if (found.length === 0) throw new Error(`no bench named ${name}; there are: ${known.join(", ")}`);
    return found;
  });
  for (const bench of chosen) {
    const { run } = await import(`./${bench}.mjs`);
    const folder = await temporaryFolder();
    try {
      await run(folder.path);
    } finally {
      await folder.remove();
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
