import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

export interface Compiled {
  /** The compiled tree, laid out as `dist` is. */
  dist: string;
  remove(): Promise<void>;
}

/**
 * Compiles these files of `src`, with all they import, into a folder of its own, for tests that need real processes. The
 * folder is readable for everybody.
 */
export async function compile(files: string[]): Promise<Compiled> {
  const project = resolve(import.meta.dirname, "../..");
  const folder = await mkdtemp(join(tmpdir(), "compiled-"));
  const dist = join(folder, "dist");
  await chmod(folder, 0o755);
  await symlink(join(project, "node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  const settings = {
    extends: join(project, "tsconfig.json"),
    compilerOptions: { rootDir: join(project, "src"), outDir: dist, noCheck: true, sourceMap: false },
    include: [],
    files: files.map((file) => join(project, "src", file)),
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(settings));
  const tsc = join(project, "node_modules/typescript/bin/tsc");
  await promisify(execFile)(process.execPath, [tsc, "-p", folder]);
  return { dist, remove: () => rm(folder, { recursive: true, force: true }) };
}
