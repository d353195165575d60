import { parseArgs } from "node:util";
import { temporaryFolder } from "./support.mjs";

/** Families of benches: `npm run bench` runs `core`, `npm run bench -- NAME` another one, `-- --all` every one. */
const families = {
  core: ["./core/ingest.mjs", "./core/fold.mjs", "./core/visible-delay.mjs"],
};

async function main() {
  const { values, positionals } = parseArgs({
    options: { all: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  // npm takes `npm run bench -- -- all` and `-- --all` for different things: both mean everything here.
  const all = values.all || positionals.includes("all");
  const names = all ? Object.keys(families) : positionals.length > 0 ? positionals : ["core"];
  const unknown = names.filter((name) => !(name in families));
  if (unknown.length > 0)
    throw new Error(`no benches named ${unknown.join(", ")}; there are: ${Object.keys(families).join(", ")}`);
  for (const file of names.flatMap((name) => families[name])) {
    const { run } = await import(file);
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
