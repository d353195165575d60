import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { objection } from "./support/arrows.js";
import { compile } from "./support/compile.js";
import { importsIn, readSource, sourceFiles, sourceFolder } from "./support/source-imports.js";

const root = resolve(import.meta.dirname, "..");

describe("imports", () => {
  it("follow the arrows", () => {
    const imports = sourceFiles.flatMap((file) => importsIn(file, readSource(file)));
    expect(imports.length).toBeGreaterThan(sourceFiles.length);
    expect(imports.map(objection).filter(Boolean)).toEqual([]);
  });

  it.each([
    ["db/a.ts", 'import { compile } from "../analytics/catalog.js";'],
    ["db/a.ts", 'import { type Metric } from "../analytics/catalog.js";'],
    ["sources/a.ts", 'import type { Db } from "../db/client.js";'],
    ["api/routes/a.ts", 'import {\n  writeCsv,\n} from "../../exports/csv.js";'],
    ["jobs/a.ts", 'export * from "../api/app.js";'],
    ["jobs/a.ts", 'import "../context.js";'],
    ["workers/a.ts", 'const app = await import("../api/app.js");'],
    ["jobs/a.ts", 'import type { Job } from "bullmq";'],
    ["workers/a.ts", 'import express from "express";'],
    ["cli/demo/a.ts", 'import { createDb } from "../../db/client.js";'],
    ["exports/a.ts", 'import excel from "exceljs";'],
    ["somewhere/a.ts", 'import { log } from "../log.js";'],
  ])("would be refused in %s: %s", (file, text) => {
    expect(importsIn(file, text).map(objection)).toEqual([expect.any(String)]);
  });

  it.each([
    ["db/a.ts", 'import type { Metric } from "../analytics/catalog.js";'],
    ["api/a.ts", 'import { openDisk } from "../exports/artifacts/disk.js";'],
    ["exports/a.ts", 'const excel = await import("exceljs");\nimport type { Workbook } from "exceljs";'],
    ["workers/a.ts", 'import { Worker } from "bullmq";\nimport { jobs } from "../jobs/index.js";'],
  ])("are allowed in %s: %s", (file, text) => {
    const imports = importsIn(file, text);
    expect(imports).toHaveLength(text.split("\n").length);
    expect(imports.map(objection).filter(Boolean)).toEqual([]);
  });
});

describe("source files", () => {
  it("read the environment in config.ts only", () => {
    const readers = sourceFiles.filter((file) =>
      /\bprocess\.env\b|\benv\b[^;]*"node:process"/.test(readSource(file)),
    );
    expect(readers).toEqual(["config.ts"]);
  });

  it("lie in folders that say what they are about", () => {
    const vague = /(^|\/)(utils?|common|lib|types|services|helpers?)(\/|$|\.ts$)/;
    expect(sourceFiles.filter((file) => vague.test(file))).toEqual([]);
  });
});

describe("jobs", () => {
  const jobFiles = sourceFiles.filter(
    (file) =>
      file.startsWith("jobs/") &&
      file !== "jobs/define-job.ts" &&
      /\bdefineJob\s*[(<]/.test(readSource(file)),
  );

  it("are all in the list, each with a kind of its own", async () => {
    if (jobFiles.length === 0) return;
    const listed = importsIn("jobs/index.ts", readSource("jobs/index.ts")).map(({ to }) => to);
    expect(jobFiles.filter((file) => !listed.includes(file))).toEqual([]);
    const list = (await import(pathToFileURL(join(sourceFolder, "jobs/index.ts")).href)) as {
      jobs: readonly { kind: string }[];
    };
    const kinds = list.jobs.map((job) => job.kind);
    expect(kinds.length).toBeGreaterThanOrEqual(jobFiles.length);
    expect(new Set(kinds).size).toBe(kinds.length);
  });

  it("have a test each", () => {
    const untested = jobFiles.filter(
      (file) => !existsSync(join(root, "test/jobs", `${basename(file, ".ts")}.test.ts`)),
    );
    expect(untested).toEqual([]);
  });
});

/** Prints the first module that opened something, and what; anything they write themselves would stand before it. */
const IMPORT_ALL = `
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
const opened = () => process.getActiveResourcesInfo().filter((name) => !/^(FS|Pipe|TTY|CloseReq)/.test(name));
await new Promise(setImmediate);
const before = opened().length;
const grown = [];
for (const file of process.argv.slice(2)) {
  await import(pathToFileURL(resolve(file)).href);
  await new Promise(setImmediate);
  if (opened().length > before) {
    grown.push(file, ...opened());
    break;
  }
}
process.stdout.write(JSON.stringify(grown), () => process.exit());
`;

describe("importing", () => {
  /** Programs: they do their work when they are run. */
  const isProgram = (file: string) => /(^|\/)(main|start|scheduler)\.ts$/.test(file);

  it("a module of the service opens nothing and says nothing", async () => {
    const modules = sourceFiles.filter(
      (file) =>
        /^(api|jobs|db|sources|analytics|delivery|exports|workers|embedded|supervisor)\//.test(file) &&
        !isProgram(file),
    );
    expect(modules.length).toBeGreaterThan(50);
    const { dist, remove } = await compile(modules);
    try {
      const script = join(dist, "import-all.mjs");
      await writeFile(script, IMPORT_ALL);
      const files = modules.map((file) => file.replace(/\.ts$/, ".js"));
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, ...files], {
        cwd: dist,
        timeout: 50_000,
      });
      expect({ stdout, stderr }).toEqual({ stdout: "[]", stderr: "" });
    } finally {
      await remove();
    }
  });
});
